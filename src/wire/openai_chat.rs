//! The answer side of OpenAI's chat shape, for vendors whose answers are translated: chunks of a stream, a whole completion.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::usage::Usage;

/// Why a choice ended, in OpenAI's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FinishReason {
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
}

/// One step of a choice.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Delta<'a> {
    /// The first of every choice.
    Role,
    Content(&'a str),
    Reasoning(&'a str),
    Refusal(&'a str),
    /// A call begins; `extra` is JSON for its `extra_content`.
    ToolCall {
        index: usize,
        id: &'a str,
        name: &'a str,
        extra: Option<&'a str>,
    },
    /// More of a call's arguments.
    Arguments {
        index: usize,
        piece: &'a str,
    },
    /// A field beyond OpenAI's: its name, and its JSON.
    Extension {
        name: &'static str,
        json: &'a str,
    },
}

/// Writes a stream's chunks, all with the same id, time and model. Take the bytes after each piece of the vendor's.
#[derive(Debug)]
pub(crate) struct ChunkWriter {
    /// `data: {` and the members that every chunk has, up to `"choices":[`.
    head: Bytes,
    /// `wants_usage`: OpenAI then puts a null into all chunks but the last.
    tail: &'static [u8],
    buffer: BytesMut,
    delivered_bytes: u64,
}

impl ChunkWriter {
    /// `model` is the id that the caller named; `wants_usage` whether it asked for the usage chunk.
    pub(crate) fn new(id: &str, model: &str, wants_usage: bool) -> Self {
        let mut head = BytesMut::with_capacity(128 + id.len() + model.len());
        head.extend_from_slice(b"data: {\"id\":");
        string(&mut head, id);
        head.extend_from_slice(b",\"object\":\"chat.completion.chunk\",\"created\":");
        json(&mut head, &unix_now());
        head.extend_from_slice(b",\"model\":");
        string(&mut head, model);
        head.extend_from_slice(b",\"choices\":[");
        let tail: &[u8] = if wants_usage { b"],\"usage\":null}\n\n" } else { b"]}\n\n" };
        Self { head: head.freeze(), tail, buffer: BytesMut::new(), delivered_bytes: 0 }
    }

    /// The next step of a choice.
    pub(crate) fn delta(&mut self, choice: u32, delta: Delta<'_>) {
        self.open(choice);
        let out = &mut self.buffer;
        match delta {
            Delta::Role => out.extend_from_slice(b"\"role\":\"assistant\",\"content\":\"\""),
            Delta::Content(text) => self.delivered_bytes += member(out, b"\"content\":", text),
            Delta::Reasoning(text) => self.delivered_bytes += member(out, b"\"reasoning_content\":", text),
            Delta::Refusal(text) => self.delivered_bytes += member(out, b"\"refusal\":", text),
            Delta::ToolCall { index, id, name, extra } => {
                out.extend_from_slice(b"\"tool_calls\":[{\"index\":");
                json(out, &index);
                member(out, b",\"id\":", id);
                self.delivered_bytes += member(out, b",\"type\":\"function\",\"function\":{\"name\":", name);
                out.extend_from_slice(b",\"arguments\":\"\"}");
                if let Some(extra) = extra {
                    out.extend_from_slice(b",\"extra_content\":");
                    out.extend_from_slice(extra.as_bytes());
                }
                out.extend_from_slice(b"}]");
            }
            Delta::Arguments { index, piece } => {
                out.extend_from_slice(b"\"tool_calls\":[{\"index\":");
                json(out, &index);
                self.delivered_bytes += member(out, b",\"function\":{\"arguments\":", piece);
                out.extend_from_slice(b"}}]");
            }
            Delta::Extension { name, json } => {
                string(out, name);
                out.put_u8(b':');
                out.extend_from_slice(json.as_bytes());
            }
        }
        self.close(None);
    }

    /// The probabilities of what a choice said last: an object of OpenAI's `logprobs`.
    pub(crate) fn logprobs(&mut self, choice: u32, logprobs: &str) {
        self.open(choice);
        self.end(logprobs, None);
    }

    /// The end of a choice.
    pub(crate) fn finish(&mut self, choice: u32, reason: FinishReason) {
        self.open(choice);
        self.close(Some(reason));
    }

    /// The chunk of usage alone; only for a caller that wants it.
    pub(crate) fn usage(&mut self, usage: &Usage) {
        self.buffer.extend_from_slice(&self.head);
        self.buffer.extend_from_slice(b"],\"usage\":");
        json(&mut self.buffer, &UsageShape::from(usage));
        self.buffer.extend_from_slice(b"}\n\n");
    }

    /// The end of the stream.
    pub(crate) fn done(&mut self) {
        self.buffer.extend_from_slice(b"data: [DONE]\n\n");
    }

    /// What has been written since the last time.
    pub(crate) fn take(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }

    /// What was put out so far, by our own count: some four bytes a token.
    pub(crate) fn delivered(&self) -> Usage {
        Usage { output_tokens: self.delivered_bytes.div_ceil(4), ..Usage::NONE }
    }

    fn open(&mut self, choice: u32) {
        self.buffer.extend_from_slice(&self.head);
        self.buffer.extend_from_slice(b"{\"index\":");
        json(&mut self.buffer, &choice);
        self.buffer.extend_from_slice(b",\"delta\":{");
    }

    fn close(&mut self, reason: Option<FinishReason>) {
        self.end("null", reason);
    }

    fn end(&mut self, logprobs: &str, reason: Option<FinishReason>) {
        self.buffer.extend_from_slice(b"},\"logprobs\":");
        self.buffer.extend_from_slice(logprobs.as_bytes());
        self.buffer.extend_from_slice(b",\"finish_reason\":");
        json(&mut self.buffer, &reason);
        self.buffer.put_u8(b'}');
        self.buffer.extend_from_slice(self.tail);
    }
}

/// A whole answer.
#[derive(Debug, Serialize)]
pub(crate) struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    usage: UsageShape,
}

#[derive(Debug, Serialize)]
struct Choice<'a> {
    index: usize,
    message: Answer<'a>,
    logprobs: Option<&'a RawValue>,
    finish_reason: FinishReason,
}

/// The message of a choice.
#[derive(Debug, Serialize)]
pub(crate) struct Answer<'a> {
    pub(crate) role: &'static str,
    pub(crate) content: Option<String>,
    pub(crate) refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tool_calls: Vec<AnswerCall<'a>>,
    /// Blocks of thinking with their signatures, in the vendor's shape.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) thinking_blocks: Vec<&'a RawValue>,
    /// An object of OpenAI's `logprobs`; it stands beside the message.
    #[serde(skip)]
    pub(crate) logprobs: Option<&'a RawValue>,
}

impl Default for Answer<'_> {
    fn default() -> Self {
        Self {
            role: "assistant",
            content: None,
            refusal: None,
            reasoning_content: None,
            tool_calls: Vec::new(),
            thinking_blocks: Vec::new(),
            logprobs: None,
        }
    }
}

/// A call that the model makes.
#[derive(Debug, Serialize)]
pub(crate) struct AnswerCall<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: AnswerFunction<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<&'a RawValue>,
}

#[derive(Debug, Serialize)]
struct AnswerFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

impl<'a> AnswerCall<'a> {
    /// `arguments` is JSON text; `extra` is a vendor's own, for `extra_content`.
    pub(crate) fn new(id: &'a str, name: &'a str, arguments: &'a str, extra: Option<&'a RawValue>) -> Self {
        Self { id, kind: "function", function: AnswerFunction { name, arguments }, extra_content: extra }
    }
}

impl<'a> Completion<'a> {
    /// `model` is the id that the caller named; the choices are numbered in their order.
    pub(crate) fn new(id: &'a str, model: &'a str, choices: Vec<(Answer<'a>, FinishReason)>, usage: &Usage) -> Self {
        let choices = choices.into_iter().enumerate();
        let choices = choices.map(|(index, (message, finish_reason))| Choice {
            index,
            logprobs: message.logprobs,
            message,
            finish_reason,
        });
        Self {
            id,
            object: "chat.completion",
            created: unix_now(),
            model,
            choices: choices.collect(),
            usage: usage.into(),
        }
    }

    /// The answer's bytes.
    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        json(&mut out, self);
        out.freeze()
    }
}

#[derive(Debug, Serialize)]
struct UsageShape {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Debug, Serialize)]
struct PromptDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
    audio_tokens: u64,
}

#[derive(Debug, Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
    audio_tokens: u64,
}

impl From<&Usage> for UsageShape {
    fn from(usage: &Usage) -> Self {
        Self {
            prompt_tokens: usage.input_tokens,
            completion_tokens: usage.output_tokens,
            total_tokens: usage.input_tokens.saturating_add(usage.output_tokens),
            prompt_tokens_details: PromptDetails {
                cached_tokens: usage.cached_input_tokens,
                cache_write_tokens: usage.cache_write_tokens,
                audio_tokens: usage.audio_input_tokens,
            },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: usage.reasoning_tokens,
                audio_tokens: usage.audio_output_tokens,
            },
        }
    }
}

/// The id of a completion, from the vendor's own: `chatcmpl-` and what follows its prefix.
pub(crate) fn completion_id(vendor: &str) -> String {
    match vendor.rsplit_once(['_', '-']).map_or(vendor, |(_, tail)| tail) {
        "" => crate::base::id::new_id("chatcmpl-"),
        tail => format!("chatcmpl-{tail}"),
    }
}

/// Seconds since 1970 for `created`: the one place where a codec looks at a clock, as no decision hangs on it.
fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Appends a member with a string value; says how long the text is.
fn member(out: &mut BytesMut, name: &[u8], text: &str) -> u64 {
    out.extend_from_slice(name);
    string(out, text);
    text.len() as u64
}

fn string(out: &mut BytesMut, text: &str) {
    json(out, text);
}

/// Appends `value`. It cannot fail: memory is the sink, and no map with odd keys is ever given.
fn json<T: Serialize + ?Sized>(out: &mut BytesMut, value: &T) {
    let _ = serde_json::to_writer(out.writer(), value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn chunks(writer: &mut ChunkWriter) -> Vec<Value> {
        let text = String::from_utf8(writer.take().to_vec()).unwrap();
        text.split_terminator("\n\n")
            .map(|e| serde_json::from_str(e.strip_prefix("data: ").unwrap()).unwrap())
            .collect()
    }

    #[test]
    fn chunks_are_openais() {
        let mut writer = ChunkWriter::new("chatcmpl-1", "m\"x", true);
        writer.delta(0, Delta::Role);
        writer.delta(0, Delta::Content("a\n\"ü\u{1}"));
        writer.delta(0, Delta::ToolCall { index: 0, id: "c", name: "f", extra: Some(r#"{"v":1}"#) });
        writer.delta(0, Delta::Arguments { index: 0, piece: "{\"a\":" });
        writer.delta(0, Delta::Extension { name: "thinking_blocks", json: "[]" });
        writer.finish(0, FinishReason::ToolCalls);
        writer.usage(&Usage { input_tokens: 3, output_tokens: 4, ..Usage::NONE });
        let chunks = chunks(&mut writer);
        let deltas: Vec<&Value> = chunks.iter().map(|c| &c["choices"][0]["delta"]).collect();
        assert_eq!(*deltas[0], json!({"role": "assistant", "content": ""}));
        assert_eq!(*deltas[1], json!({"content": "a\n\"ü\u{1}"}));
        let function = json!({"name": "f", "arguments": ""});
        let call = json!({"index": 0, "id": "c", "type": "function", "function": function, "extra_content": {"v": 1}});
        assert_eq!(*deltas[2], json!({ "tool_calls": [call] }));
        assert_eq!(*deltas[3], json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"a\":"}}]}));
        assert_eq!(*deltas[4], json!({"thinking_blocks": []}));
        assert_eq!(chunks[5]["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!((&chunks[6]["choices"], &chunks[6]["usage"]["total_tokens"]), (&json!([]), &json!(7)));
        for chunk in &chunks {
            assert_eq!((&chunk["id"], &chunk["model"]), (&json!("chatcmpl-1"), &json!("m\"x")));
            assert!(chunk.as_object().unwrap().contains_key("usage"));
        }
        assert_eq!(writer.delivered().output_tokens, 3);
    }

    #[test]
    fn a_caller_that_did_not_ask_sees_no_usage_member() {
        let mut writer = ChunkWriter::new("x", "m", false);
        writer.delta(1, Delta::Content("a"));
        let chunk = &chunks(&mut writer)[0];
        assert!(chunk.get("usage").is_none());
        assert_eq!(chunk["choices"][0]["index"], 1);
    }

    #[test]
    fn ids_are_told_from_the_vendors() {
        assert_eq!(completion_id("msg_01X"), "chatcmpl-01X");
        assert_eq!(completion_id("abc"), "chatcmpl-abc");
        assert_eq!(completion_id("").len(), "chatcmpl-".len() + 22);
    }
}
