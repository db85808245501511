//! The codec as the route drives it: requests by their bodies, answers cut at every byte.

mod answers;
mod recordings;
mod requests;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use serde_json::Value;

use super::Gemini;
use crate::base::error::Error;
use crate::base::secret::Secret;
use crate::domain::endpoint::Endpoint;
use crate::domain::modality::Modality;
use crate::domain::model::ModelTerms;
use crate::domain::usage::Usage;
use crate::http::body::{CallBody, Segments};
use crate::http::call::{Call, Facts, Located, StreamOptions};
use crate::provider::traits::{Credential, Exchange, Output, Provider, Target, Timeouts};

fn target(upstream: &str) -> Target {
    Target {
        provider: "gemini".into(),
        codec: Arc::new(Gemini),
        base_url: "https://generativelanguage.googleapis.com".parse().unwrap(),
        credential: Arc::new(Credential::ApiKey(Secret::new("upstream-secret"))),
        upstream: upstream.into(),
        terms: Arc::new(ModelTerms::new("public-id", Modality::Text)),
        timeouts: Timeouts::default(),
        content_hosts: Arc::new([]),
    }
}

fn call(endpoint: Endpoint, body: &Value) -> Call {
    let located = |value| Located { value, at: 0..0 };
    let facts = Facts {
        model: Some(Located { value: "public-id".to_owned(), at: 0..0 }),
        stream: body["stream"].as_bool().map(located),
        stream_options: body["stream_options"]["include_usage"].as_bool().map(|wanted| Located {
            value: StreamOptions { include_usage: Some(wanted), ..StreamOptions::default() },
            at: 0..0,
        }),
        ..Facts::default()
    };
    Call::new(endpoint, facts, Segments::from(Bytes::from(body.to_string())), None)
}

fn encode(upstream: &str, body: &Value) -> Result<Exchange, Error> {
    Gemini.encode(&call(Endpoint::ChatCompletions, body), &target(upstream))
}

fn sent(request: Option<Request<CallBody>>) -> Value {
    serde_json::from_slice(&request.unwrap().into_body().into_bytes()).unwrap()
}

/// What came out of a decoder.
#[derive(Debug, PartialEq)]
struct Decoded {
    text: String,
    usage: Option<Usage>,
    delivered: Usage,
    complete: bool,
    error: Option<Error>,
}

/// Decodes `pieces`. Ids and times, which are new each time, are blanked.
fn decode<'p>(mut exchange: Exchange, pieces: impl Iterator<Item = &'p [u8]>) -> Decoded {
    let (head, ()) = Response::new(()).into_parts();
    exchange.decoder.head(&head).unwrap();
    let mut out = Output::default();
    let mut result = Ok(());
    for piece in pieces {
        result = result.and_then(|()| exchange.decoder.push(Bytes::copy_from_slice(piece), &mut out));
    }
    result = result.and_then(|()| exchange.decoder.finish(&mut out));
    let mut text = String::new();
    while let Some(frame) = out.next_frame() {
        text.push_str(std::str::from_utf8(&frame).unwrap());
    }
    Decoded {
        text: blank(&blank(&blank(&text, "\"chatcmpl-"), "\"created\":"), "\"call_"),
        usage: out.usage(),
        delivered: out.delivered(),
        complete: out.is_complete(),
        error: result.err(),
    }
}

/// `text` with the 22 letters, or the digits of a time, behind each `mark` as one `0`.
fn blank(text: &str, mark: &str) -> String {
    let mut parts = text.split(mark);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let length = if mark.ends_with(':') { part.find(|c: char| !c.is_ascii_digit()).unwrap_or(0) } else { 22 };
        shown.push_str(mark);
        shown.push('0');
        shown.push_str(part.get(length..).unwrap_or(part));
    }
    shown
}

fn whole(body: &str) -> (Value, Decoded) {
    let request = serde_json::json!({"messages": [{"role": "user", "content": "x"}]});
    let decoded = decode(encode("gemini-2.5-flash", &request).unwrap(), std::iter::once(body.as_bytes()));
    (serde_json::from_str(&decoded.text).unwrap_or_default(), decoded)
}

fn streaming(usage: bool) -> Exchange {
    let request = serde_json::json!({"messages": [{"role": "user", "content": "x"}], "stream": true,
        "stream_options": {"include_usage": usage}});
    encode("gemini-2.5-flash", &request).unwrap()
}

/// Decodes a stream in one piece, and sees that any cut into two, and single bytes, decode to the same.
fn stream(body: &[u8]) -> Decoded {
    let decoded = decode(streaming(true), std::iter::once(body));
    assert_eq!(decode(streaming(true), body.chunks(1)), decoded, "single bytes");
    for at in 0..body.len() {
        assert_eq!(decode(streaming(true), [&body[..at], &body[at..]].into_iter()), decoded, "cut at {at}");
    }
    decoded
}

fn events(text: &str) -> Vec<Value> {
    let data = text.split_terminator("\n\n").map(|e| e.strip_prefix("data: ").unwrap());
    data.map(|d| if d == "[DONE]" { Value::from(d) } else { serde_json::from_str(d).unwrap() }).collect()
}
