//! Recorded answers of the vendor, where they lie beside the repository: what a caller sees is what the recording means.

use std::collections::BTreeMap;
use std::path::PathBuf;

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::*;

struct Recording {
    id: String,
    stream: bool,
    status: u16,
    body: Vec<u8>,
}

/// What an answer says, in terms of neither side.
#[derive(Debug, Default, PartialEq)]
struct Meaning {
    text: String,
    thinking: String,
    tools: Vec<(String, Value)>,
    finish: Option<String>,
    /// Input, output, cached.
    tokens: (u64, u64, u64),
}

fn recordings() -> Vec<Recording> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let near = ["../shared", "../../shared"].map(|near| root.join(near).join("conformance/recordings/anthropic"));
    let files = near.iter().find_map(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten();
    let read = |file: std::fs::DirEntry| {
        let recording: Value = serde_json::from_slice(&std::fs::read(file.path()).ok()?).ok()?;
        let endpoint = recording["endpoint"].as_str()?;
        endpoint.ends_with("/v1/messages").then(|| Recording {
            id: recording["id"].as_str().unwrap_or_default().to_owned(),
            stream: recording["stream"] == true,
            status: recording["response"]["status"].as_u64().unwrap_or_default() as u16,
            body: recording["response"]["body"]["text"].as_str().unwrap_or_default().into(),
        })
    };
    files.filter_map(|file| read(file.ok()?)).collect()
}

fn events(body: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(body);
    text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?.trim()).ok()).collect()
}

fn overlay(whole: &mut Value, later: &Value) {
    for (name, value) in later.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        whole[name] = value.clone();
    }
}

/// The blocks, stop reason and usage of a stream, put together; `None` where it fails.
fn folded(events: &[Value]) -> Option<Value> {
    let mut blocks: BTreeMap<u64, Value> = BTreeMap::new();
    let mut message = json!({"usage": {}});
    for event in events {
        let index = event["index"].as_u64().unwrap_or_default();
        match event["type"].as_str().unwrap_or_default() {
            "message_start" => overlay(&mut message["usage"], &event["message"]["usage"]),
            "content_block_start" => drop(blocks.insert(index, event["content_block"].clone())),
            "content_block_delta" => {
                let block = blocks.get_mut(&index)?;
                for name in ["text", "thinking", "partial_json"] {
                    if let Some(piece) = event["delta"][name].as_str() {
                        let so_far = block[name].as_str().unwrap_or_default();
                        block[name] = json!(format!("{so_far}{piece}"));
                    }
                }
            }
            "message_delta" => {
                overlay(&mut message, &json!({"stop_reason": event["delta"]["stop_reason"]}));
                overlay(&mut message["usage"], &event["usage"]);
            }
            "error" => return None,
            // One recording goes on with further answers.
            "message_stop" => break,
            _ => {}
        }
    }
    message["content"] = blocks.into_values().collect();
    Some(message)
}

fn meant(message: &Value) -> Meaning {
    let mut meaning = Meaning::default();
    for block in message["content"].as_array().into_iter().flatten() {
        match block["type"].as_str().unwrap_or_default() {
            "text" => meaning.text.push_str(block["text"].as_str().unwrap_or_default()),
            "thinking" => meaning.thinking.push_str(block["thinking"].as_str().unwrap_or_default()),
            "tool_use" => {
                let streamed = block["partial_json"].as_str().filter(|json| !json.is_empty());
                let input = streamed.map_or(block["input"].clone(), |json| serde_json::from_str(json).unwrap());
                meaning.tools.push((block["name"].as_str().unwrap_or_default().to_owned(), input));
            }
            _ => {}
        }
    }
    let word = match message["stop_reason"].as_str().unwrap_or_default() {
        "max_tokens" | "model_context_window_exceeded" | "pause_turn" => "length",
        "tool_use" => "tool_calls",
        "refusal" => "content_filter",
        _ => "stop",
    };
    meaning.finish = Some(word.to_owned());
    let count = |name: &str| message["usage"][name].as_u64().unwrap_or_default();
    let cached = count("cache_read_input_tokens");
    let input = count("input_tokens") + cached + count("cache_creation_input_tokens");
    meaning.tokens = (input, count("output_tokens"), cached);
    meaning
}

/// What a caller makes of the answer.
fn seen(decoded: &Decoded, stream: bool) -> Meaning {
    let mut meaning = Meaning::default();
    let mut calls: Vec<(String, String)> = Vec::new();
    let answers = if stream { decoded.chunks() } else { vec![decoded.whole()] };
    for answer in &answers {
        let choice = &answer["choices"][0];
        let message = if stream { &choice["delta"] } else { &choice["message"] };
        meaning.text.push_str(message["content"].as_str().unwrap_or_default());
        meaning.thinking.push_str(message["reasoning_content"].as_str().unwrap_or_default());
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            if let Some(name) = call["function"]["name"].as_str() {
                assert_eq!(call["index"].as_u64().unwrap_or(calls.len() as u64), calls.len() as u64);
                calls.push((name.to_owned(), String::new()));
            }
            calls.last_mut().unwrap().1.push_str(call["function"]["arguments"].as_str().unwrap_or_default());
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            assert_eq!(meaning.finish.replace(reason.to_owned()), None);
        }
        if let Some(usage) = answer["usage"].as_object() {
            let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
            meaning.tokens =
                (usage["prompt_tokens"].as_u64().unwrap(), usage["completion_tokens"].as_u64().unwrap(), cached);
        }
    }
    meaning.tools = calls.into_iter().map(|(name, input)| (name, serde_json::from_str(&input).unwrap())).collect();
    meaning
}

#[test]
fn recorded_answers_keep_their_meaning_however_they_are_cut() {
    for recording in recordings().iter().filter(|r| r.status == 200) {
        let Recording { id, stream, body, .. } = recording;
        let more = if *stream { streamed() } else { json!({}) };
        let whole = decode(more.clone(), &[body]);
        let message = if *stream { folded(&events(body)) } else { serde_json::from_slice(body).ok() };
        match message {
            None => assert!(whole.error.is_some() && !whole.complete, "{id} fails"),
            Some(message) => {
                assert_eq!((&whole.error, whole.complete), (&None, true), "{id}");
                let meaning = meant(&message);
                assert_eq!(seen(&whole, *stream), meaning, "{id}");
                let usage = whole.usage.unwrap();
                let tokens = (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens);
                assert_eq!(tokens, meaning.tokens, "{id}");
            }
        }
        if whole.error.is_some() {
            // A fragment without its start gets a random id: two readings differ.
            continue;
        }
        // Every offset of a short one, some of a long one.
        let step = body.len() / 400 + 1;
        for cut in (0..body.len()).step_by(step) {
            assert_eq!(decode(more.clone(), &[&body[..cut], &body[cut..]]), whole, "{id} cut at {cut}");
        }
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(decode(more, &bytes), whole, "{id} byte by byte");
    }
}

#[test]
fn recorded_errors_have_their_status() {
    for recording in recordings().iter().filter(|r| r.status >= 400) {
        let text = String::from_utf8_lossy(&recording.body).to_lowercase();
        let want = match recording.status {
            400 if text.contains("credit balance is too low") => 500,
            400 | 404 | 413 | 415 | 422 => 400,
            429 => 429,
            _ => 500,
        };
        let status = StatusCode::from_u16(recording.status).unwrap();
        let error = Anthropic.fault(status, &HeaderMap::new(), &recording.body);
        assert_eq!(error.code().status(), want, "{}: {error}", recording.id);
    }
}
