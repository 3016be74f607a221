// Vercel's `ai` with OpenAI's provider, and OpenAI's own client, as their users call them, with what their environment
// says: ai.mjs MODULES RECORDING MODEL…

import { File } from "node:buffer";
import { createReadStream, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, speech, ...models] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { transcribe } = await load("ai");
const { openai } = await load("@ai-sdk/openai");

globalThis.File ??= File;
const { OpenAI } = await load("openai");

const client = new OpenAI();
const { text } = await client.audio.transcriptions.create({ file: createReadStream(speech), model: models[0] });
const answers = { openai: text };
for (const model of models) {
  try {
    const answer = await transcribe({ model: openai.transcription(model), audio: readFileSync(speech), maxRetries: 0 });
    answers[model] = {
      text: answer.text,
      language: answer.language,
      segments: answer.segments,
      seconds: answer.durationInSeconds,
      speakers: answer.providerMetadata?.openai?.segments,
    };
  } catch (error) {
    answers[model] = { status: error.statusCode, error: `${error} ${error.responseBody}` };
  }
}
console.log(JSON.stringify(answers));
