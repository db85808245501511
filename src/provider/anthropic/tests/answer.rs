use proptest::prelude::*;
use serde_json::{Value, json};

use crate::base::error::Code;
use crate::wire::openai_chat::FinishReason;

use super::*;

fn stream_of(events: &[Value]) -> Vec<u8> {
    events.iter().flat_map(|e| format!("event: {}\ndata: {e}\n\n", e["type"].as_str().unwrap()).into_bytes()).collect()
}

fn start() -> Value {
    json!({"type": "message_start", "message": {"id": "msg_9", "usage": {"input_tokens": 3, "output_tokens": 1}}})
}

fn said(text: &str) -> Value {
    json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})
}

fn ended(reason: &str) -> [Value; 2] {
    let delta = json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 5}});
    [delta, json!({"type": "message_stop"})]
}

fn failed(kind: &str) -> Value {
    json!({"type": "error", "error": {"details": null, "type": kind, "message": "Overloaded"}})
}

#[test]
fn a_whole_answer_is_openais() {
    let decoded = decode(json!({}), &[&fixture("message.json")]);
    let want = json!({
        "id": "chatcmpl-01XFDUDYJgAACzvnptvVoYEL", "object": "chat.completion", "created": 0, "model": "claude",
        "choices": [{"index": 0, "message": {
            "role": "assistant", "content": "Hi, wait.", "refusal": null, "reasoning_content": "Hm.",
            "tool_calls": [{"id": "toolu_01A", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\":\"Paris\"}"}}],
            "thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "EuYB"}]},
            "logprobs": null, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 115, "completion_tokens": 7, "total_tokens": 122,
            "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 5, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 0}}
    });
    assert_eq!(decoded.whole(), want);
    let usage = Usage {
        input_tokens: 115,
        cached_input_tokens: 100,
        cache_write_tokens: 5,
        output_tokens: 7,
        reasoning_tokens: 3,
        ..Usage::NONE
    };
    assert_eq!((decoded.usage, decoded.complete, decoded.error), (Some(usage), true, None));
}

#[test]
fn an_empty_or_refused_answer_is_an_answer() {
    let message = |content: Value, reason: &str| {
        let details = json!({"type": "refusal", "explanation": "No."});
        let body =
            json!({"id": "msg_1", "content": content, "stop_reason": reason, "stop_details": details, "usage": null});
        decode(json!({}), &[body.to_string().as_bytes()]).whole()["choices"][0].clone()
    };
    let empty = message(json!([]), "end_turn");
    assert_eq!((&empty["message"]["content"], &empty["finish_reason"]), (&json!(""), &json!("stop")));
    let refused = message(Value::Null, "refusal");
    assert_eq!((&refused["message"]["refusal"], &refused["finish_reason"]), (&json!("No."), &json!("content_filter")));
}

#[test]
fn an_unreadable_answer_is_the_vendors_failure() {
    for body in [&b""[..], b"<html>", b"[]", b"{\"content\":5}", b"{\"content\":[{\"type\":\"tool_use\"}]}"] {
        let decoded = decode(json!({}), &[body]);
        assert_eq!(decoded.error.unwrap().code(), Code::ProviderError);
        assert!(!decoded.complete && decoded.text.is_empty());
    }
    let body = failed("overloaded_error").to_string();
    assert_eq!(decode(json!({}), &[body.as_bytes()]).error.unwrap().code(), Code::ProviderOverloaded);
}

#[test]
fn text_and_a_tool_are_streamed() {
    let decoded = decode(streamed(), &[&fixture("text_then_tool.sse")]);
    let function = json!({"name": "get_weather", "arguments": ""});
    let piece = |text: &str| json!({"tool_calls": [{"index": 0, "function": {"arguments": text}}]});
    let want = [
        json!({"role": "assistant", "content": ""}),
        json!({"content": "Okay"}),
        json!({"tool_calls": [{"index": 0, "id": "toolu_01T1x", "type": "function", "function": function}]}),
        piece("{\"location\":"),
        piece(" \"Paris\"}"),
        json!({}),
    ];
    assert_eq!(decoded.deltas(), want);
    let chunks = decoded.chunks();
    assert_eq!(chunks[5]["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!((&chunks[6]["choices"], &chunks[6]["usage"]["total_tokens"]), (&json!([]), &json!(561)));
    assert_eq!((chunks[7].as_str(), chunks.len()), (Some("[DONE]"), 8));
    assert!(chunks[..7].iter().all(|c| c["id"] == "chatcmpl-01" && c["model"] == "claude"));
    let usage = Usage { input_tokens: 472, output_tokens: 89, ..Usage::NONE };
    assert_eq!((decoded.usage, decoded.complete, decoded.error), (Some(usage), true, None));
}

#[test]
fn thinking_is_streamed_with_its_signature_and_tools_are_counted_alone() {
    let decoded = decode(json!({"stream": true}), &[&fixture("thinking.sse")]);
    let want = [
        json!({"role": "assistant", "content": ""}),
        json!({"reasoning_content": "Let me sée\n"}),
        json!({"reasoning_content": "— the time."}),
        json!({"thinking_blocks": [{"index": 0, "type": "thinking", "thinking": "", "signature": "EuYB+/="}]}),
        json!({"thinking_blocks": [{"index": 1, "type": "redacted_thinking", "data": "Em0K"}]}),
        json!({"tool_calls": [{"index": 0, "id": "toolu_02", "type": "function", "function": {"name": "now", "arguments": ""}}]}),
        json!({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
        json!({}),
    ];
    assert_eq!(decoded.deltas(), want);
    assert!(!decoded.text.contains("usage"), "nobody asked");
    let usage = decoded.usage.unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens, usage.reasoning_tokens), (115, 7, 3));
}

#[test]
fn the_json_tool_is_shown_as_content() {
    let format =
        json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "properties": {}}}});
    let tool = json!({"type": "tool_use", "id": "toolu_1", "name": "json_tool_call", "input": {}});
    let mut events = vec![start(), json!({"type": "content_block_start", "index": 0, "content_block": tool})];
    let piece = json!({"type": "input_json_delta", "partial_json": "{\"a\":1}"});
    events.push(json!({"type": "content_block_delta", "index": 0, "delta": piece}));
    events.extend(ended("tool_use"));
    let decoded = decode(json!({"stream": true, "response_format": format}), &[&stream_of(&events)]);
    assert_eq!(decoded.deltas()[1], json!({"content": "{\"a\":1}"}));
    assert_eq!(decoded.chunks()[2]["choices"][0]["finish_reason"], "stop");

    let body = json!({"content": [{"type": "tool_use", "id": "t", "name": "json_tool_call", "input": {"a": 1}}], "stop_reason": "tool_use"});
    let whole = decode(json!({"response_format": format}), &[body.to_string().as_bytes()]).whole();
    assert_eq!(whole["choices"][0]["message"]["content"], "{\"a\":1}");
    assert_eq!(
        (&whole["choices"][0]["finish_reason"], whole["choices"][0]["message"].get("tool_calls")),
        (&json!("stop"), None)
    );
}

#[test]
fn an_error_before_any_output_leaves_the_status_open() {
    let decoded = decode(json!({"stream": true}), &[&stream_of(&[start(), failed("overloaded_error")])]);
    assert_eq!((decoded.text.as_str(), decoded.error.unwrap().code()), ("", Code::ProviderOverloaded));
}

#[test]
fn an_error_after_output_follows_what_came_before_it() {
    let decoded = decode(streamed(), &[&stream_of(&[start(), said("a"), failed("overloaded_error")])]);
    assert_eq!(decoded.deltas(), [json!({"role": "assistant", "content": ""}), json!({"content": "a"})]);
    assert_eq!(decoded.error.unwrap().code(), Code::ProviderOverloaded);
    assert!(!decoded.complete && decoded.usage.is_none());
}

#[test]
fn a_known_event_that_cannot_be_read_is_an_error_and_an_unknown_one_is_not() {
    let bad = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 5}});
    let decoded = decode(streamed(), &[&stream_of(&[start(), bad])]);
    assert_eq!(decoded.error.unwrap().code(), Code::ProviderError);
    let odd = json!({"type": "novelty", "index": "x", "delta": 5});
    let [delta, stop] = ended("novel_reason");
    let decoded = decode(streamed(), &[&stream_of(&[start(), odd, delta, stop])]);
    assert!(decoded.complete && decoded.error.is_none());
    assert_eq!(decoded.chunks()[1]["choices"][0]["finish_reason"], "stop");
}

#[test]
fn a_stream_without_its_end_is_not_complete() {
    let stream = fixture("text_then_tool.sse");
    let last = stream.windows(15).rposition(|w| w == b"\"message_stop\"}").unwrap() + 15;
    for cut in 0..=stream.len() {
        let decoded = decode(streamed(), &[&stream[..cut]]);
        // A last event that lacks its blank line is still an event.
        assert_eq!(
            (decoded.complete, decoded.text.ends_with("[DONE]\n\n")),
            (cut >= last, cut >= last),
            "cut at {cut}"
        );
    }
}

#[test]
fn stop_reasons_have_their_word() {
    for (reason, word) in [
        ("end_turn", FinishReason::Stop),
        ("stop_sequence", FinishReason::Stop),
        ("max_tokens", FinishReason::Length),
        ("model_context_window_exceeded", FinishReason::Length),
        ("pause_turn", FinishReason::Length),
        ("tool_use", FinishReason::ToolCalls),
        ("refusal", FinishReason::ContentFilter),
    ] {
        assert_eq!(super::super::message::finish_reason(reason), word);
    }
}

#[test]
fn a_cut_at_any_byte_changes_nothing() {
    for name in ["text_then_tool.sse", "thinking.sse"] {
        let stream = fixture(name);
        let whole = decode(streamed(), &[&stream]);
        for cut in 0..stream.len() {
            assert_eq!(decode(streamed(), &[&stream[..cut], &stream[cut..]]), whole, "{name} cut at {cut}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(decode(streamed(), &bytes), whole, "{name} byte by byte");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(noise in proptest::collection::vec(any::<u8>(), 0..60), at in 320usize..3_000) {
        let mut stream = fixture("thinking.sse");
        let at = at.min(stream.len());
        stream.splice(at..at, noise);
        let whole = decode(streamed(), &[&stream]);
        prop_assert_eq!(decode(streamed(), &[&stream[..at], &stream[at..]]), whole);
    }
}
