// OpenAI's client for Node, unmodified: formats, streams, and errors, which are not tried again where that cannot help.

import assert from "node:assert/strict";
import { File } from "node:buffer";
import { createReadStream, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, test } from "node:test";

const { STT_NODE_CLIENTS, STT_SOCKET, STT_SPEECH } = process.env;

// The client wants this global, which Node 18 keeps elsewhere.
globalThis.File ??= File;

const require = createRequire(`${STT_NODE_CLIENTS}/`);
const { OpenAI, BadRequestError, InternalServerError, NotFoundError, toFile } = require("openai");
const { Agent, fetch } = require("undici");

const TEXT = "go forward ten meters";
const dispatcher = new Agent({ connect: { socketPath: STT_SOCKET } });
after(() => dispatcher.close());

let sent = 0;

const client = new OpenAI({
  baseURL: "http://localhost/v1",
  apiKey: "none",
  maxRetries: 5,
  fetchOptions: { dispatcher },
  fetch: (...request) => {
    sent += 1;
    return fetch(...request);
  },
});

// Not a stream, which the client could not send again if it wanted to.
const speech = await toFile(readFileSync(STT_SPEECH), "speech.wav");

const ask = (options) => client.audio.transcriptions.create({ file: speech, model: "whisper-1", ...options });

test("json", async () => {
  const answer = await ask();
  assert.equal(answer.text, TEXT);
  assert.deepEqual(answer.usage, { type: "duration", seconds: 3 });
  assert.match(answer._request_id, /^[0-9a-f-]{36}$/);
});

test("a recording that is sent while it is read", async () => {
  const answer = await ask({ file: createReadStream(STT_SPEECH) });
  assert.equal(answer.text, TEXT);
});

test("verbose_json with words and segments", async () => {
  const answer = await ask({ response_format: "verbose_json", timestamp_granularities: ["word", "segment"] });
  assert.deepEqual(answer.words.map(({ word }) => word), TEXT.split(" "));
  assert.deepEqual(answer.segments.map(({ text }) => text), [TEXT]);
  assert.equal(answer.language, "english");
});

test("text, srt and vtt are plain text", async () => {
  assert.equal(await ask({ response_format: "text" }), `${TEXT}\n`);
  const time = "00:00:\\d\\d[,.]\\d{3}";
  const cue = `${time} --> ${time}\n${TEXT}\n\n$`;
  assert.match(await ask({ response_format: "srt" }), new RegExp(`^1\n${cue}`));
  assert.match(await ask({ response_format: "vtt" }), new RegExp(`^WEBVTT\n\n${cue}`));
});

test("a stream says the text in pieces", async () => {
  const events = [];
  for await (const event of await ask({ stream: true })) events.push(event);
  const done = events.pop();
  assert.equal(done.type, "transcript.text.done");
  assert.equal(done.text, TEXT);
  assert.equal(events.map(({ delta }) => delta).join(""), TEXT);
});

test("a stream that fails later says so", async () => {
  const stream = await ask({ model: "hasty:stall", stream: true });
  const heard = [];
  const listen = async () => {
    for await (const event of stream) heard.push(event.delta);
  };
  await assert.rejects(listen, { code: "timeout" });
  assert.deepEqual(heard, ["fault engine"]);
});

test("models", async () => {
  const models = await client.models.list();
  assert.deepEqual(models.data.map(({ id }) => id).sort(), ["default", "fault", "hasty", "null", "whisper-1"]);
});

for (const [title, options, kind, status, param, code] of [
  ["what the model cannot do", { language: "de" }, BadRequestError, 400, "language", "invalid_parameter"],
  ["no such model", { model: "gpt-4o-transcribe" }, NotFoundError, 404, "model", "model_not_found"],
  ["a crash", { model: "fault:segfault" }, InternalServerError, 502, null, "worker_crashed"],
  ["a hang", { model: "hasty:hang" }, InternalServerError, 504, null, "timeout"],
]) {
  test(`${title} is an error after one request`, async () => {
    const before = sent;
    await assert.rejects(ask(options), (error) => {
      assert.ok(error instanceof kind, error);
      assert.deepEqual([error.status, error.param, error.code], [status, param, code]);
      return true;
    });
    assert.equal(sent - before, 1);
  });
}
