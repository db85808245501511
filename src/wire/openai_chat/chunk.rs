//! A stream's chunks.

use bytes::{BufMut, Bytes, BytesMut};

use crate::domain::usage::Usage;

use super::usage::UsageShape;
use super::{FinishReason, json, unix_now};

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
        json(&mut head, id);
        head.extend_from_slice(b",\"object\":\"chat.completion.chunk\",\"created\":");
        json(&mut head, &unix_now());
        head.extend_from_slice(b",\"model\":");
        json(&mut head, model);
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
            Delta::Extension { name, json: value } => {
                json(out, name);
                out.put_u8(b':');
                out.extend_from_slice(value.as_bytes());
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

/// Appends a member with a string value; says how long the text is.
fn member(out: &mut BytesMut, name: &[u8], text: &str) -> u64 {
    out.extend_from_slice(name);
    json(out, text);
    text.len() as u64
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
}
