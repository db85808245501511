//! Recorded answers of Google's, where the folder of recordings lies beside the project.

use std::path::Path;

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::*;

#[derive(Debug, Default, PartialEq)]
struct Meaning {
    text: String,
    thoughts: String,
    calls: Vec<(Value, Value)>,
    finish: Option<&'static str>,
    usage: (u64, u64, u64, u64),
}

fn recordings() -> Vec<Value> {
    let beside = ["../shared", "../../shared"].map(|shared| Path::new(env!("CARGO_MANIFEST_DIR")).join(shared));
    let folders = beside.iter().map(|shared| shared.join("conformance/recordings/gemini"));
    let files = folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    files.map(|file| serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap()).collect()
}

fn answered(recording: &Value) -> Vec<u8> {
    let body = &recording["response"]["body"];
    body["text"].as_str().map(|t| t.as_bytes().to_vec()).unwrap_or_else(|| body["json"].to_string().into_bytes())
}

fn answers(recording: &Value, body: &[u8]) -> Vec<Value> {
    if recording["stream"] != true {
        return vec![serde_json::from_slice(body).unwrap()];
    }
    let text = std::str::from_utf8(body).unwrap().replace("\r\n", "\n");
    text.split("\n\n")
        .filter_map(|e| e.trim().strip_prefix("data:").map(|d| serde_json::from_str(d).unwrap()))
        .collect()
}

/// What a recording means, worked out from its bytes alone; `None` where a chat has no shape for it.
fn meaning(answers: &[Value]) -> Option<Meaning> {
    let mut meaning = Meaning::default();
    let (mut stop, mut blocked, mut usage) = (Value::Null, false, serde_json::Map::new());
    for answer in answers {
        blocked |= answer["promptFeedback"]["blockReason"].is_string();
        usage.extend(answer["usageMetadata"].as_object().cloned().unwrap_or_default());
        for candidate in answer["candidates"].as_array()? {
            for part in candidate["content"]["parts"].as_array().into_iter().flatten() {
                if let Some(call) = part.get("functionCall") {
                    meaning.calls.push((call["name"].clone(), call.get("args").cloned().unwrap_or_else(|| json!({}))));
                } else if let Some(text) = part["text"].as_str() {
                    let thought = part["thought"] == true;
                    if thought { &mut meaning.thoughts } else { &mut meaning.text }.push_str(text);
                } else {
                    return None;
                }
            }
            if !candidate["finishReason"].is_null() {
                stop = candidate["finishReason"].clone();
            }
        }
    }
    meaning.finish = match stop.as_str() {
        Some("STOP") if meaning.calls.is_empty() => Some("stop"),
        Some("STOP") => Some("tool_calls"),
        Some("MAX_TOKENS") => Some("length"),
        Some("SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "IMAGE_SAFETY") => {
            Some("content_filter")
        }
        None if blocked => Some("content_filter"),
        _ => None,
    };
    let count = |key: &str| usage.get(key).and_then(Value::as_u64).unwrap_or(0);
    let thoughts = count("thoughtsTokenCount");
    meaning.usage = (
        count("promptTokenCount") + count("toolUsePromptTokenCount"),
        count("candidatesTokenCount") + thoughts,
        count("cachedContentTokenCount"),
        thoughts,
    );
    Some(meaning)
}

fn used(usage: &Value) -> (u64, u64, u64, u64) {
    let of = |value: &Value| value.as_u64().unwrap_or(u64::MAX);
    assert_eq!(of(&usage["total_tokens"]), of(&usage["prompt_tokens"]) + of(&usage["completion_tokens"]));
    (
        of(&usage["prompt_tokens"]),
        of(&usage["completion_tokens"]),
        of(&usage["prompt_tokens_details"]["cached_tokens"]),
        of(&usage["completion_tokens_details"]["reasoning_tokens"]),
    )
}

fn call_of(function: &Value) -> (Value, Value) {
    (function["name"].clone(), serde_json::from_str(function["arguments"].as_str().unwrap()).unwrap())
}

fn read_whole(text: &str, want: Option<&'static str>) -> Meaning {
    let answer: Value = serde_json::from_str(text).unwrap();
    let (message, finish) = (&answer["choices"][0]["message"], &answer["choices"][0]["finish_reason"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Meaning {
        text: text(&message["content"]),
        thoughts: text(&message["reasoning_content"]),
        calls: message["tool_calls"].as_array().into_iter().flatten().map(|c| call_of(&c["function"])).collect(),
        finish: want.filter(|want| finish == want),
        usage: used(&answer["usage"]),
    }
}

fn read_stream(text: &str, want: Option<&'static str>) -> Meaning {
    let mut meaning = Meaning::default();
    let mut finishes = Vec::new();
    let mut calls: Vec<(String, String)> = Vec::new();
    let events = events(text);
    assert_eq!(events.last().unwrap(), "[DONE]");
    for event in &events[..events.len() - 1] {
        assert_eq!(event["object"], "chat.completion.chunk");
        if event["usage"].is_object() {
            assert_eq!(event["choices"], json!([]));
            meaning.usage = used(&event["usage"]);
        }
        let Some(choice) = event["choices"].get(0) else { continue };
        let delta = &choice["delta"];
        meaning.text.push_str(delta["content"].as_str().unwrap_or_default());
        meaning.thoughts.push_str(delta["reasoning_content"].as_str().unwrap_or_default());
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let at = call["index"].as_u64().unwrap() as usize;
            if at == calls.len() {
                calls.push((call["function"]["name"].as_str().unwrap().to_owned(), String::new()));
            }
            calls[at].1.push_str(call["function"]["arguments"].as_str().unwrap());
        }
        finishes.extend(choice["finish_reason"].as_str().map(str::to_owned));
    }
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(finishes.len(), 1, "{finishes:?}");
    meaning.calls = calls.into_iter().map(|(name, args)| (name.into(), serde_json::from_str(&args).unwrap())).collect();
    meaning.finish = want.filter(|want| finishes[0] == *want);
    meaning
}

#[test]
fn recorded_chats_decode_to_what_they_mean_however_they_are_cut() {
    let mut seen = 0;
    for recording in recordings() {
        let id = recording["id"].as_str().unwrap();
        let url = recording["request"]["url"].as_str().unwrap_or_default();
        let streamed = recording["stream"] == true;
        if recording["response"]["status"] != 200
            || !url.contains("enerateContent")
            || streamed != url.contains("alt=sse")
        {
            continue;
        }
        let body = answered(&recording);
        let Some(want) = meaning(&answers(&recording, &body)) else { continue };
        let (decoded, got) = if streamed {
            let decoded = stream(&body);
            let got = read_stream(&decoded.text, want.finish);
            (decoded, got)
        } else {
            let decoded = whole(std::str::from_utf8(&body).unwrap()).1;
            assert_eq!(decoded.error, None, "{id}");
            let got = read_whole(&decoded.text, want.finish);
            (decoded, got)
        };
        assert_eq!(got, want, "{id}");
        assert!(decoded.complete, "{id}");
        let usage = decoded.usage.unwrap();
        let booked = (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, usage.reasoning_tokens);
        assert_eq!(booked, want.usage, "{id}");
        seen += 1;
    }
    assert!(seen == 0 || seen > 20, "{seen} recordings");
}

#[test]
fn recorded_errors_are_of_their_class() {
    for recording in recordings() {
        let Some(status) = recording["response"]["status"].as_u64().filter(|s| *s >= 400) else { continue };
        let body = answered(&recording);
        let error = Gemini.fault(StatusCode::from_u16(status as u16).unwrap(), &HeaderMap::new(), &body);
        let text = String::from_utf8_lossy(&body).to_lowercase();
        let bad_key =
            text.contains("api_key_invalid") || text.contains("api key not valid") || text.contains("api key expired");
        let want = match status {
            400 if bad_key => 500,
            401..=403 => 500,
            429 => 429,
            400 | 404 | 413 | 415 | 422 => 400,
            _ => 500,
        };
        assert_eq!(error.code().status().as_u16(), want, "{}", recording["id"]);
        assert_eq!(error.wait().is_some(), status == 429 && text.contains("retrydelay"), "{}", recording["id"]);
        assert!(!error.message().contains("://"));
    }
}

#[test]
fn recorded_embeddings_are_passed_on_number_by_number() {
    for recording in recordings().iter().filter(|r| r["kind"] == "embeddings") {
        let body = answered(recording);
        let request = json!({"input": ["x"]});
        let exchange = Gemini.encode(&call(Endpoint::Embeddings, &request), &target("gemini-embedding-2")).unwrap();
        let decoded = decode(exchange, body.chunks(1_000));
        let (got, given): (Value, Value) =
            (serde_json::from_str(&decoded.text).unwrap(), serde_json::from_slice(&body).unwrap());
        let first = given.get("embedding").or_else(|| given["embeddings"].get(0)).unwrap();
        assert_eq!(got["data"][0]["embedding"], first["values"], "{}", recording["id"]);
    }
}
