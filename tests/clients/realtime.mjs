// OpenAI's client for Node in a realtime session: `realtime.mjs FOLDER RECORDING [SOCKET]` prints the turns that it heard.
//
// The client asks for TLS whatever its address says. A program without it gives the connection itself, to a Unix socket
// or over TCP.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { connect } from "node:net";

const [folder, recording, socket] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const { OpenAI } = require("openai");
const { OpenAIRealtimeWS } = require("openai/realtime/ws");

const client = new OpenAI();
const { hostname, port } = new URL(client.baseURL);
const createConnection = () => (socket ? connect(socket) : connect(Number(port), hostname));

// A header of 44 bytes, then 24,000 samples a second.
const samples = readFileSync(recording).subarray(44);
const session = new OpenAIRealtimeWS({ model: "whisper-1", options: { createConnection } }, client);
const [turns, events] = [new Map(), []];

session.on("error", (error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
session.on("event", (event) => events.push(event.type));
session.on("session.created", () => {
  session.send({
    type: "session.update",
    session: { type: "transcription", audio: { input: { turn_detection: { type: "server_vad" } } } },
  });
  for (let start = 0; start < samples.length; start += 2400) {
    const audio = samples.subarray(start, start + 2400).toString("base64");
    session.send({ type: "input_audio_buffer.append", audio });
  }
});
// Two turns may be heard at once, and come to their ends in any order.
session.on("input_audio_buffer.committed", ({ item_id }) => turns.set(item_id, null));
session.on("conversation.item.input_audio_transcription.completed", ({ item_id, transcript }) => {
  turns.set(item_id, transcript);
  if (turns.size === 2 && ![...turns.values()].includes(null)) session.close();
});
session.socket.on("close", (code) => {
  process.stdout.write(JSON.stringify({ turns: [...turns.values()], events, code }));
});
