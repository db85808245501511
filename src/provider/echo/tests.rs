use serde_json::json;

use crate::http::body::Segments;
use crate::http::call::{Facts, Located, Multipart, Part, StreamOptions};
use crate::wire::sse::SseReader;

use super::*;

/// A call and the facts that matter to this provider.
fn call(endpoint: Endpoint, body: &Value) -> Call {
    let number = |key: &str| body[key].as_u64().map(|value| Located { value, at: 0..0 });
    let options =
        StreamOptions { include_usage: body["stream_options"]["include_usage"].as_bool(), ..StreamOptions::default() };
    let facts = Facts {
        stream: body["stream"].as_bool().map(|value| Located { value, at: 0..0 }),
        stream_options: Some(Located { value: options, at: 0..0 }),
        max_tokens: number("max_tokens"),
        max_output_tokens: number("max_output_tokens"),
        n: number("n"),
        response_format: body["response_format"].as_str().map(str::to_owned),
        ..Facts::default()
    };
    Call::new(endpoint, facts, Segments::from(Bytes::from(body.to_string())), None)
}

fn target() -> Target {
    use crate::domain::model::ModelTerms;
    use crate::provider::traits::{Credential, Timeouts};
    use std::sync::Arc;
    Target {
        provider: "demo".into(),
        codec: Arc::new(Echo),
        base_url: "http://offline.invalid".parse().unwrap(),
        credential: Arc::new(Credential::None),
        upstream: "demo".into(),
        terms: Arc::new(ModelTerms::new("demo", crate::Modality::Text)),
        timeouts: Timeouts::default(),
        content_hosts: Arc::new([]),
    }
}

struct Answered {
    content_type: String,
    body: Vec<u8>,
    usage: Usage,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn events(&self) -> Vec<String> {
        let mut reader = SseReader::new();
        reader.push(Bytes::copy_from_slice(&self.body));
        std::iter::from_fn(|| reader.next_event().unwrap())
            .map(|event| String::from_utf8(event.data().unwrap().into_owned()).unwrap())
            .collect()
    }
}

fn answer(call: &Call) -> Result<Answered, Error> {
    let mut exchange = Echo.encode(call, &target())?;
    assert!(exchange.request.is_none());
    let headers = exchange.decoder.head(&http::Response::new(()).into_parts().0)?;
    let mut out = Output::default();
    exchange.decoder.finish(&mut out)?;
    assert!(out.is_complete());
    let usage = out.usage().unwrap();
    let body = std::iter::from_fn(|| out.next_frame()).flatten().collect();
    Ok(Answered { content_type: headers[http::header::CONTENT_TYPE].to_str().unwrap().to_owned(), body, usage })
}

fn ask(endpoint: Endpoint, body: &Value) -> Answered {
    answer(&call(endpoint, body)).unwrap()
}

#[test]
fn chat_says_the_last_user_message_back() {
    let body = json!({"model": "demo", "n": 2, "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hello "}, {"type": "image_url"}, {"type": "text", "text": "wörld"}]},
    ]});
    let answered = ask(Endpoint::ChatCompletions, &body);
    let whole = answered.json();
    assert_eq!(whole["choices"][1]["message"]["content"], "Hello wörld");
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
    assert_eq!(whole["usage"], json!({"prompt_tokens": 6, "completion_tokens": 6, "total_tokens": 12}));
    assert_eq!((answered.usage.input_tokens, answered.usage.output_tokens), (6, 6));
    assert_eq!(ask(Endpoint::ChatCompletions, &body).body, answered.body, "the same request has the same answer");
}

#[test]
fn chat_keeps_to_the_bound_and_says_so() {
    let body = json!({"max_tokens": 2, "messages": [{"role": "user", "content": "123456789"}]});
    let whole = ask(Endpoint::ChatCompletions, &body).json();
    assert_eq!(
        (&whole["choices"][0]["message"]["content"], &whole["choices"][0]["finish_reason"]),
        (&json!("12345678"), &json!("length"))
    );
    let held = call(Endpoint::ChatCompletions, &body).bound_output(1);
    assert_eq!(answer(&held).unwrap().usage.output_tokens, 1);
}

#[test]
fn a_chat_stream_ends_with_its_finish_its_usage_when_asked_and_done() {
    for asked in [true, false] {
        let body = json!({
            "stream": true, "stream_options": {"include_usage": asked}, "messages": [{"role": "user", "content": "12345"}],
        });
        let answered = ask(Endpoint::ChatCompletions, &body);
        let mut events = answered.events();
        assert_eq!(events.pop().as_deref(), Some("[DONE]"));
        let chunks: Vec<Value> = events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
        let said: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
        assert_eq!(said, "12345");
        let usage = chunks.iter().filter(|chunk| chunk["usage"].is_object()).count();
        assert_eq!((usage, chunks.len()), (usize::from(asked), 4 + usize::from(asked)));
        assert_eq!(answered.usage.output_tokens, 2);
    }
}

#[test]
fn responses_come_whole_or_as_numbered_events() {
    let whole = ask(Endpoint::Responses, &json!({"input": "Hello"})).json();
    assert_eq!(whole["output"][0]["content"][0]["text"], "Hello");
    assert_eq!(whole["usage"]["output_tokens"], 2);
    let events =
        ask(Endpoint::Responses, &json!({"stream": true, "input": [{"role": "user", "content": "Hello"}]})).events();
    let events: Vec<Value> = events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    assert!(events.iter().enumerate().all(|(i, event)| event["sequence_number"] == i));
    assert_eq!(events.first().unwrap()["type"], "response.created");
    assert_eq!(events.last().unwrap()["response"]["output"][0]["content"], whole["output"][0]["content"]);
    assert_eq!(events.last().unwrap()["type"], "response.completed");
}

#[test]
fn embeddings_are_vectors_of_length_one_in_either_encoding() {
    let floats = ask(Endpoint::Embeddings, &json!({"input": ["a", "b", "a"], "dimensions": 4})).json();
    let vector = |i: usize| -> Vec<f32> {
        floats["data"][i]["embedding"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap() as f32).collect()
    };
    assert_eq!(vector(0), vector(2));
    assert_ne!(vector(0), vector(1));
    assert!((vector(0).iter().map(|n| n * n).sum::<f32>() - 1.0).abs() < 1e-5);
    assert_eq!(floats["usage"], json!({"prompt_tokens": 3, "total_tokens": 3}));
    let packed = ask(Endpoint::Embeddings, &json!({"input": "a", "dimensions": 4, "encoding_format": "base64"})).json();
    let bytes: Vec<u8> = vector(0).iter().flat_map(|n| n.to_le_bytes()).collect();
    assert_eq!(packed["data"][0]["embedding"], crate::wire::base64::encode(&bytes));
    assert_eq!(ask(Endpoint::Embeddings, &json!({"input": [[1, 2], [3]]})).usage.input_tokens, 3);
}

#[test]
fn images_are_png_files_as_many_as_asked() {
    let body = json!({"prompt": "a cat", "n": 2, "response_format": "url"});
    let answered = ask(Endpoint::ImageGenerations, &body);
    let whole = answered.json();
    assert!(whole["data"][1]["url"].as_str().unwrap().starts_with("data:image/png;base64,iVBORw0KGgo"));
    assert_ne!(whole["data"][0], whole["data"][1]);
    assert_eq!(answered.usage.images, 2);
    let picture = ask(Endpoint::ImageGenerations, &json!({"prompt": "a cat"})).json()["data"][0]["b64_json"].clone();
    assert!(picture.is_string());
}

#[test]
fn speech_is_a_wav_unless_raw_samples_are_asked_for() {
    let wav = ask(Endpoint::Speech, &json!({"input": "hällo", "voice": "alloy"}));
    assert_eq!((wav.content_type.as_str(), &wav.body[..4], wav.usage.characters), ("audio/wav", &b"RIFF"[..], 5));
    let pcm = ask(Endpoint::Speech, &json!({"input": "hällo", "voice": "alloy", "response_format": "pcm"}));
    assert_eq!((pcm.content_type.as_str(), &pcm.body[..]), ("audio/pcm", &wav.body[44..]));
    assert_eq!(pcm.body.len(), 5 * 24_000 / 50 * 2);
}

fn heard(format: Option<&str>, stream: bool) -> Answered {
    let part = Part { name: "file".to_owned(), content: 10..40_010, whole: 0..40_020, ..Part::default() };
    let facts = Facts {
        multipart: Some(Multipart { boundary: "b".to_owned(), parts: vec![part] }),
        response_format: format.map(str::to_owned),
        stream: Some(Located { value: stream, at: 0..0 }),
        ..Facts::default()
    };
    let call = Call::new(Endpoint::Transcriptions, facts, Bytes::from(vec![0; 40_020]).into(), None);
    answer(&call).unwrap()
}

#[test]
fn transcription_tells_how_much_it_heard_in_every_format() {
    let json = heard(None, false);
    assert_eq!(json.json(), json!({"text": "Heard 40000 bytes.", "usage": {"type": "duration", "seconds": 2}}));
    assert_eq!(json.usage.audio_seconds, 2);
    for (format, text) in [
        ("text", "Heard 40000 bytes.\n"),
        ("srt", "1\n00:00:00,000 --> 00:00:02,000\nHeard 40000 bytes.\n\n"),
        ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nHeard 40000 bytes.\n\n"),
    ] {
        let answered = heard(Some(format), false);
        assert_eq!(
            (answered.content_type.as_str(), answered.body.as_slice()),
            ("text/plain; charset=utf-8", text.as_bytes())
        );
    }
    assert_eq!(heard(Some("verbose_json"), false).json()["segments"][0]["end"], 2.0);
    assert_eq!(heard(None, true).events().len(), 2);
}

#[test]
fn a_request_without_what_it_is_about_is_refused_by_name() {
    for (endpoint, field) in [
        (Endpoint::ChatCompletions, "messages"),
        (Endpoint::Responses, "input"),
        (Endpoint::Embeddings, "input"),
        (Endpoint::ImageGenerations, "prompt"),
        (Endpoint::Speech, "input"),
        (Endpoint::Transcriptions, "file"),
    ] {
        let error = Echo.encode(&call(endpoint, &json!({})), &target()).unwrap_err();
        assert_eq!((error.code().status().as_u16(), error.param_name()), (400, Some(field)));
    }
    assert!(!Echo.supports(Endpoint::VideoGenerations));
}
