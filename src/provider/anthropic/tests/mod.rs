//! The codec against the vendor's answers: own small ones, and the recordings where they are at hand.

mod answer;
mod fault;
mod recordings;
mod request;

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, Uri};
use serde_json::{Value, json};

use crate::base::error::Error;
use crate::domain::endpoint::Endpoint;
use crate::domain::modality::Modality;
use crate::domain::model::ModelTerms;
use crate::domain::usage::Usage;
use crate::http::body::Segments;
use crate::http::call::{Call, Facts, Located, StreamOptions};
use crate::provider::traits::{Credential, Exchange, Output, Provider, Target, Timeouts};
use crate::wire::dropped::Dropped;

use super::Anthropic;

/// A call as the inspect layer would have made it.
fn call(body: &Value) -> Call {
    let located = |value| Located { value, at: 0..0 };
    let include_usage = body["stream_options"]["include_usage"].as_bool();
    let options = StreamOptions { include_usage, ..StreamOptions::default() };
    let facts = Facts {
        model: body["model"].as_str().map(|value| Located { value: value.to_owned(), at: 0..0 }),
        stream: body["stream"].as_bool().map(located),
        stream_options: include_usage.map(|_| Located { value: options, at: 0..0 }),
        ..Facts::default()
    };
    Call::new(Endpoint::ChatCompletions, facts, Segments::from(Bytes::from(body.to_string())), None)
}

fn target(upstream: &str) -> Target {
    Target {
        provider: "anthropic".into(),
        codec: Arc::new(Anthropic),
        base_url: Uri::from_static("http://127.0.0.1:9/").into(),
        credential: Arc::new(Credential::ApiKey("sk-ant-secret".into())),
        upstream: upstream.into(),
        terms: Arc::new(ModelTerms::new("claude", Modality::Text)),
        timeouts: Timeouts::default(),
        content_hosts: Arc::new([]),
    }
}

fn encode(upstream: &str, body: Value) -> Result<Exchange, Error> {
    Anthropic.encode(&call(&body), &target(upstream))
}

/// The vendor's body for a request of these messages and further fields.
fn sent(upstream: &str, messages: Value, more: Value) -> Value {
    sent_and_dropped(upstream, messages, more).0
}

fn sent_and_dropped(upstream: &str, messages: Value, more: Value) -> (Value, Dropped) {
    let exchange = encode(upstream, with(messages, more)).unwrap();
    let body = exchange.request.unwrap().into_body().into_bytes();
    (serde_json::from_slice(&body).unwrap(), exchange.dropped)
}

fn refused(upstream: &str, messages: Value, more: Value) -> Error {
    encode(upstream, with(messages, more)).unwrap_err()
}

fn with(messages: Value, more: Value) -> Value {
    let mut body = json!({"model": "claude", "messages": messages});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

/// What came of an answer.
#[derive(Debug, PartialEq)]
struct Decoded {
    text: String,
    usage: Option<Usage>,
    complete: bool,
    error: Option<Error>,
}

impl Decoded {
    fn chunks(&self) -> Vec<Value> {
        let events = self.text.split_terminator("\n\n").map(|e| e.strip_prefix("data: ").unwrap());
        events.map(|e| serde_json::from_str(e).unwrap_or_else(|_| e.into())).collect()
    }

    fn deltas(&self) -> Vec<Value> {
        self.chunks().iter().filter(|c| c["choices"][0].is_object()).map(|c| c["choices"][0]["delta"].clone()).collect()
    }

    fn whole(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

/// Decodes an answer that comes in these pieces to a plain request with further fields `more`.
fn decode(more: Value, pieces: &[&[u8]]) -> Decoded {
    let mut exchange = encode("claude-3-opus-20240229", with(json!([user("hi")]), more)).unwrap();
    let mut out = Output::default();
    exchange.decoder.head(&Response::new(()).into_parts().0).unwrap();
    let mut pushed = Ok(());
    for piece in pieces {
        pushed = pushed.and_then(|()| exchange.decoder.push(Bytes::copy_from_slice(piece), &mut out));
    }
    let error = pushed.and_then(|()| exchange.decoder.finish(&mut out)).err();
    let mut bytes = Vec::new();
    while let Some(frame) = out.next_frame() {
        bytes.extend_from_slice(&frame);
    }
    let text = without_time(&String::from_utf8(bytes).unwrap());
    Decoded { text, usage: out.usage(), complete: out.is_complete(), error }
}

/// Answers to the same bytes differ in nothing else.
fn without_time(text: &str) -> String {
    const CREATED: &str = "\"created\":";
    let mut parts = text.split(CREATED);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        whole.push_str(CREATED);
        whole.push('0');
        whole.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    whole
}

fn streamed() -> Value {
    json!({"stream": true, "stream_options": {"include_usage": true}})
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/anthropic/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}
