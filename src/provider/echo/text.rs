//! Chat and responses: the last thing that the user said, said back.

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::base::error::Error;
use crate::domain::usage::Usage;
use crate::http::call::Call;

use super::{Answer, CREATED, body, count_tokens, event, missing};

/// The longest answer, in tokens.
const CEILING: u64 = 4_096;

/// What is said back, and what it takes.
struct Said {
    /// One piece a token.
    pieces: Vec<String>,
    cut: bool,
    input_tokens: u64,
}

impl Said {
    /// Reads messages or input items, which share their shape as far as it matters here.
    fn back(messages: &[Value], bound: Option<u64>) -> Self {
        let said = messages.iter().rev().find(|message| message["role"] == "user").map(|m| text(&m["content"]));
        let said = said.filter(|text| !text.is_empty()).unwrap_or_else(|| "Nothing was said.".to_owned());
        let bound = usize::try_from(bound.unwrap_or(CEILING).min(CEILING)).unwrap_or(usize::MAX);
        let letters: Vec<char> = said.chars().take(4 * bound + 1).collect();
        let pieces = letters.chunks(4).take(bound).map(String::from_iter).collect();
        let input_tokens = messages.iter().map(|message| count_tokens(&text(&message["content"]))).sum::<u64>().max(1);
        Self { pieces, cut: letters.len() > 4 * bound, input_tokens }
    }

    fn text(&self) -> String {
        self.pieces.concat()
    }

    fn usage(&self, choices: u64) -> Usage {
        Usage { input_tokens: self.input_tokens, output_tokens: self.pieces.len() as u64 * choices, ..Usage::NONE }
    }
}

/// A content: one string, or parts of which some are text.
fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

/// `prefix` and a hash of the request.
fn id(prefix: &str, call: &Call) -> String {
    let hash = Sha256::digest(call.body());
    hash.iter().take(12).fold(prefix.to_owned(), |id, byte| format!("{id}{byte:02x}"))
}

/// `/v1/chat/completions`.
pub(super) fn chat(call: &Call, model: &str) -> Result<Answer, Error> {
    let body = body(call)?;
    let messages =
        body["messages"].as_array().filter(|messages| !messages.is_empty()).ok_or_else(|| missing("messages"))?;
    let facts = call.facts();
    let asked = facts.max_completion_tokens.as_ref().or(facts.max_tokens.as_ref()).map(|bound| bound.value);
    let choices = facts.n.as_ref().map_or(1, |n| n.value).clamp(1, 128);
    let said = Said::back(messages, call.output_bound().or(asked));
    let usage = said.usage(choices);
    let told = json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    });
    let finish = if said.cut { "length" } else { "stop" };
    let id = id("chatcmpl-", call);
    if !call.streams() {
        let choices: Vec<_> = (0..choices)
            .map(|index| {
                let message = json!({"role": "assistant", "content": said.text(), "refusal": null});
                json!({"index": index, "message": message, "logprobs": null, "finish_reason": finish})
            })
            .collect();
        let whole = json!({
            "id": id, "object": "chat.completion", "created": CREATED, "model": model, "choices": choices, "usage": told,
        });
        return Ok(Answer::json(&whole, usage));
    }
    let chunk = |choices: Value, usage: Option<&Value>| {
        let mut chunk = json!({"id": id, "object": "chat.completion.chunk", "created": CREATED, "model": model, "choices": choices});
        if call.wants_usage() {
            chunk["usage"] = usage.cloned().unwrap_or_default();
        }
        event(&chunk)
    };
    let delta = |index, delta: Value, finish: Option<&str>| {
        chunk(json!([{"index": index, "delta": delta, "logprobs": null, "finish_reason": finish}]), None)
    };
    let mut frames = Vec::new();
    for index in 0..choices {
        frames.push(delta(index, json!({"role": "assistant", "content": "", "refusal": null}), None));
        frames.extend(said.pieces.iter().map(|piece| delta(index, json!({ "content": piece }), None)));
        frames.push(delta(index, json!({}), Some(finish)));
    }
    if call.wants_usage() {
        frames.push(chunk(json!([]), Some(&told)));
    }
    frames.push(Bytes::from_static(b"data: [DONE]\n\n"));
    Ok(Answer::events(frames, usage))
}

/// `/v1/responses`.
pub(super) fn response(call: &Call, model: &str) -> Result<Answer, Error> {
    let body = body(call)?;
    let items = match &body["input"] {
        Value::String(text) => vec![json!({"role": "user", "content": text})],
        Value::Array(items) if !items.is_empty() => items.clone(),
        _ => return Err(missing("input")),
    };
    let asked = call.facts().max_output_tokens.as_ref().map(|bound| bound.value);
    let said = Said::back(&items, call.output_bound().or(asked));
    let usage = said.usage(1);
    let status = if said.cut { "incomplete" } else { "completed" };
    let item_id = id("msg_", call);
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
    let item = |status: &str, content: Value| json!({"type": "message", "id": item_id, "status": status, "role": "assistant", "content": content});
    let response = |status: &str, output: Value| {
        let done = status != "in_progress";
        json!({
            "id": id("resp_", call), "object": "response", "created_at": CREATED, "status": status, "error": null,
            "incomplete_details": (status == "incomplete").then(|| json!({"reason": "max_output_tokens"})),
            "instructions": body["instructions"], "metadata": {}, "model": model, "output": output,
            "parallel_tool_calls": true, "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0,
            "usage": done.then(|| json!({
                "input_tokens": usage.input_tokens,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": usage.output_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage.input_tokens + usage.output_tokens,
            })),
        })
    };
    let done_item = item(status, json!([part(&said.text())]));
    let whole = response(status, json!([done_item]));
    if !call.streams() {
        return Ok(Answer::json(&whole, usage));
    }
    let place = || json!({"item_id": item_id, "output_index": 0, "content_index": 0});
    let at_place = |key: &str, value: Value| {
        let mut data = place();
        data[key] = value;
        data
    };
    let began = response("in_progress", json!([]));
    let mut events = vec![
        ("response.created", json!({ "response": began })),
        ("response.in_progress", json!({ "response": began })),
        ("response.output_item.added", json!({"output_index": 0, "item": item("in_progress", json!([]))})),
        ("response.content_part.added", at_place("part", part(""))),
    ];
    events.extend(said.pieces.iter().map(|piece| ("response.output_text.delta", at_place("delta", json!(piece)))));
    events.extend([
        ("response.output_text.done", at_place("text", json!(said.text()))),
        ("response.content_part.done", at_place("part", part(&said.text()))),
        ("response.output_item.done", json!({"output_index": 0, "item": done_item})),
        (if said.cut { "response.incomplete" } else { "response.completed" }, json!({ "response": whole })),
    ]);
    let frames = events.into_iter().enumerate().map(|(number, (name, mut data))| {
        data["type"] = json!(name);
        data["sequence_number"] = json!(number);
        format!("event: {name}\ndata: {data}\n\n").into()
    });
    Ok(Answer::events(frames.collect(), usage))
}
