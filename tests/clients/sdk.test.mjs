// The OpenAI SDK for Node against the gateway. Run by stack.py.
import assert from "node:assert/strict";
import test from "node:test";
import OpenAI from "openai";

const client = (key = "WIDE", options = {}) =>
  new OpenAI({ baseURL: process.env.KANCY_BASE_URL, apiKey: process.env[`KANCY_KEY_${key}`], maxRetries: 0, ...options });
const messages = [{ role: "user", content: "Hello" }];
const ask = (model = "gpt-4o", key = "WIDE", options = {}) => client(key).chat.completions.create({ model, messages, ...options });
const tools = ["weather", "time"].map((name) => ({ type: "function", function: { name, parameters: { type: "object", properties: {} } } }));

test("chat", async () => {
  const answer = await ask();
  assert.equal(answer.choices[0].message.content, "Hello – from the stand-in ✓");
  assert.ok(answer._request_id);
});

test("streaming hides the usage that was not asked for", async () => {
  let text = "";
  for await (const chunk of await ask("gpt-4o", "WIDE", { stream: true })) {
    assert.equal(chunk.choices.length, 1);
    text += chunk.choices[0].delta.content ?? "";
  }
  assert.equal(text.trim(), "Hello – from the stand-in ✓");
});

test("streaming with usage", async () => {
  let usage;
  for await (const chunk of await ask("gpt-4o", "WIDE", { stream: true, stream_options: { include_usage: true } })) usage = chunk.usage ?? usage;
  assert.equal(usage.total_tokens, 30);
});

test("streamed tool calls", async () => {
  const final = await client().chat.completions.stream({ model: "gpt-4o", messages, tools }).finalChatCompletion();
  assert.deepEqual(final.choices[0].message.tool_calls.map((c) => JSON.parse(c.function.arguments)), [{ city: "Paris" }, { city: "Paris" }]);
});

test("embeddings and models", async () => {
  const answer = await client().embeddings.create({ model: "text-embedding-3-small", input: "a" });
  assert.deepEqual(answer.data[0].embedding, [0.25, -0.5, 1]);
  const ids = [];
  for await (const model of client("NARROW").models.list()) ids.push(model.id);
  assert.deepEqual(ids, ["gpt-4o"]);
});

test("every class of error", async () => {
  const cases = [
    [OpenAI.BadRequestError, "model_not_found", () => ask("nope")],
    [OpenAI.AuthenticationError, "insufficient_permissions", () => ask("unpriced", "NARROW")],
    [OpenAI.RateLimitError, "quota_exceeded", () => ask("gpt-4o", "DAILY")],
    [OpenAI.RateLimitError, "spend_cap_exceeded", () => ask("gpt-4o", "CAPPED")],
    [OpenAI.InternalServerError, "provider_error", () => ask("broken")],
    [OpenAI.NotFoundError, "not_found", () => client().models.retrieve("nope")],
  ];
  for (const [kind, code, call] of cases) {
    await assert.rejects(call, (error) => {
      assert.ok(error instanceof kind, `${code}: ${error}`);
      assert.equal(error.code, code);
      assert.equal(error.requestID, error.error.request_id);
      return true;
    });
  }
});

test("a spend cap is asked once, however often the SDK may retry", async () => {
  let sent = 0;
  const counting = (...args) => (sent++, fetch(...args));
  const eager = client("CAPPED", { maxRetries: 5, fetch: counting });
  await assert.rejects(() => eager.chat.completions.create({ model: "gpt-4o", messages }), OpenAI.RateLimitError);
  assert.equal(sent, 1);
});

test("a stream that breaks is an error and not an end", async () => {
  await assert.rejects(async () => {
    for await (const _ of await ask("error-midway", "WIDE", { stream: true }));
  }, OpenAI.APIError);
});

test("a video from create to file", async () => {
  const made = await client().videos.create({ model: "veo", prompt: "A quiet city street at sunrise", seconds: "4", size: "1280x720" });
  let video = made;
  while (video.status === "queued" || video.status === "in_progress") {
    await new Promise((resolve) => setTimeout(resolve, 200));
    video = await client().videos.retrieve(made.id);
  }
  assert.deepEqual([video.status, video.seconds, video.size, video.progress], ["completed", "4", "1280x720", 100]);
  const film = Buffer.from(await (await client().videos.downloadContent(made.id)).arrayBuffer());
  assert.equal(film.subarray(4, 12).toString(), "ftypisom");
  const ids = [];
  for await (const one of client().videos.list({ limit: 1 })) ids.push(one.id);
  assert.ok(ids.includes(made.id));
  assert.equal((await client().videos.delete(made.id)).deleted, true);
  await assert.rejects(() => client().videos.retrieve(made.id), OpenAI.NotFoundError);
});

test("a video of a picture", async () => {
  const picture = await OpenAI.toFile(Buffer.from("iVBORw0KGgo=", "base64"), "first.png", { type: "image/png" });
  const made = await client().videos.create({ model: "kling-video", prompt: "It moves", seconds: "4", input_reference: picture });
  assert.equal(made.object, "video");
});
