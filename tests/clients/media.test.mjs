// Pictures and voices by the OpenAI SDK for Node. Run by stack.py.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import test from "node:test";
import OpenAI, { toFile } from "openai";

const client = new OpenAI({ baseURL: process.env.KANCY_BASE_URL, apiKey: process.env.KANCY_KEY_WIDE, maxRetries: 0 });
const models = ["openai-image", "google-image", "minimax-image", "bytedance-image"];
const draw = (model, options = {}) => client.images.generate({ model, prompt: "A clean enterprise API dashboard", ...options });
const png = () => toFile(Buffer.from("89504e470d0a1a0a0000000d49484452", "hex"), "a.png", { type: "image/png" });

function wav(seconds) {
  const data = 16_000 * seconds;
  const head = Buffer.from("RIFF....WAVEfmt \x10\0\0\0\x01\0\x01\0....\x80\x3e\0\0\x02\0\x10\0data....", "latin1");
  head.writeUInt32LE(36 + data, 4);
  head.writeUInt32LE(8_000, 24);
  head.writeUInt32LE(data, 40);
  return toFile(Buffer.concat([head, Buffer.alloc(data)]), "hello.wav", { type: "audio/wav" });
}

async function refused(call, param, origin = "gateway") {
  await assert.rejects(call, (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError, String(error));
    assert.deepEqual([error.param, error.error.origin], [param, origin]);
    return true;
  });
}

test("the product's example is a picture of every vendor, inline and as a URL", async () => {
  for (const model of models) {
    const inline = await draw(model, { size: "1536x1024", response_format: "b64_json" });
    assert.ok(Buffer.from(inline.data[0].b64_json, "base64").length > 50, model);
    const link = await draw(model, { size: "1536x1024", response_format: "url" });
    assert.match(link.data[0].url, /^(https?:\/\/|data:image\/)/, model);
  }
});

test("several pictures at once", async () => {
  for (const model of models) assert.equal((await draw(model, { n: 3 })).data.length, 3, model);
});

test("partial pictures are streamed", async () => {
  const kinds = [];
  for await (const event of await draw("openai-image", { stream: true, partial_images: 2 })) kinds.push(event.type);
  assert.deepEqual(kinds, ["image_generation.partial_image", "image_generation.partial_image", "image_generation.completed"]);
});

test("a picture is edited", async () => {
  for (const model of ["openai-image", "bytedance-image"]) {
    const answer = await client.images.edit({ model, image: [await png(), await png()], prompt: "more sky" });
    assert.ok(answer.data[0].b64_json || answer.data[0].url, model);
  }
  await refused(async () => client.images.edit({ model: "minimax-image", image: await png(), prompt: "more sky" }), "image");
});

test("what cannot be drawn is refused by name", async () => {
  for (const model of models) {
    await refused(() => draw(model, { size: "huge" }), "size");
    await refused(() => draw(model, { n: 0 }), "n");
    await refused(() => draw(model, { prompt: "" }), "prompt");
  }
});

test("speech is streamed to a file by either vendor", async () => {
  for (const model of ["openai-tts", "minimax-tts"]) {
    const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "kancy-")), "speech.mp3");
    const answer = await client.audio.speech.create({ model, voice: "alloy", input: "Hello" });
    assert.equal(answer.headers.get("content-type"), "audio/mpeg");
    await pipeline(Readable.fromWeb(answer.body), fs.createWriteStream(file));
    assert.equal(fs.statSync(file).size, 256 * 64);
  }
});

test("a recording is written down in every format, and streamed", async () => {
  const hear = async (options) => client.audio.transcriptions.create({ model: "whisper-asr", file: await wav(2), ...options });
  assert.equal((await hear({})).text, "Hello");
  assert.equal((await hear({ response_format: "verbose_json", timestamp_granularities: ["word"] })).words[0].word, "Hello");
  assert.match(await hear({ response_format: "srt" }), /^1\n00:00:00,000/);
  assert.match(await hear({ response_format: "vtt" }), /^WEBVTT\n/);
  assert.equal(await hear({ response_format: "text" }), "Hello\n");
  const kinds = [];
  for await (const event of await hear({ model: "gpt-4o-transcribe", stream: true })) kinds.push(event.type);
  assert.deepEqual(kinds, ["transcript.text.delta", "transcript.text.done"]);
  const diarized = await hear({ model: "gpt-4o-transcribe-diarize", response_format: "diarized_json", chunking_strategy: "auto" });
  assert.equal(diarized.segments[0].speaker, "A");
  assert.equal((await client.audio.translations.create({ model: "whisper-asr", file: await wav(1) })).text, "Hello");
  await refused(async () => hear({ file: await toFile(Buffer.from("Dear Sir or Madam"), "a.wav") }), "file");
});
