//! The codec against hand-made answers.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::domain::modality::Modality;
use crate::domain::model::ModelTerms;
use crate::domain::usage::Usage;
use crate::provider::traits::{Output, Timeouts};
use crate::wire::peek::peek;

use super::*;

fn target() -> Target {
    Target {
        provider: "p".into(),
        codec: Arc::new(MiniMax),
        base_url: "http://vendor.test/".parse().unwrap(),
        credential: Arc::new(Credential::ApiKey("upstream-secret".into())),
        upstream: "speech-2.8-hd".into(),
        terms: Arc::new(ModelTerms::new("alias", Modality::Voice)),
        timeouts: Timeouts::default(),
        content_hosts: Arc::new([]),
    }
}

fn call(body: &Value) -> Call {
    let bytes = Bytes::from(body.to_string());
    Call::new(Endpoint::Speech, peek(std::slice::from_ref(&bytes)).unwrap(), bytes.into(), None)
}

fn asked(more: Value) -> Value {
    let mut body = json!({"model": "alias", "input": "Grüß dich", "voice": "alloy"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn encode(body: &Value) -> Result<Exchange, Error> {
    MiniMax.encode(&call(body), &target())
}

fn sent(body: &Value) -> Value {
    let request = encode(body).unwrap().request.unwrap();
    assert_eq!(request.uri(), "http://vendor.test/v1/t2a_v2");
    assert_eq!(request.headers()["authorization"], "Bearer upstream-secret");
    serde_json::from_slice(&request.into_body().into_bytes()).unwrap()
}

#[derive(Debug, PartialEq)]
struct Heard {
    body: Vec<u8>,
    usage: Option<Usage>,
    delivered: Usage,
    complete: bool,
    failed: Option<Code>,
}

fn hear(more: Value, content_type: &str, pieces: &[&[u8]]) -> Heard {
    let mut decoder = encode(&asked(more)).unwrap().decoder;
    let vendor = http::Response::builder().header("content-type", content_type).body(()).unwrap().into_parts().0;
    let mut out = Output::default();
    let mut run = || {
        decoder.head(&vendor)?;
        pieces.iter().try_for_each(|piece| decoder.push(Bytes::copy_from_slice(piece), &mut out))?;
        decoder.finish(&mut out)
    };
    let failed = run().err().map(|error| error.code());
    let body: Vec<Bytes> = std::iter::from_fn(|| out.next_frame()).collect();
    Heard { body: body.concat(), usage: out.usage(), delivered: out.delivered(), complete: out.is_complete(), failed }
}

fn characters(n: u64) -> Usage {
    Usage { characters: n, ..Usage::NONE }
}

#[test]
fn a_request_for_speech_becomes_minimaxs_own() {
    let want = json!({
        "model": "speech-2.8-hd", "text": "Grüß dich", "stream": true,
        "stream_options": {"exclude_aggregated_audio": true}, "output_format": "hex", "language_boost": "auto",
        "voice_setting": {"voice_id": "male-qn-qingse", "speed": 1.0, "vol": 1.0, "pitch": 0},
        "audio_setting": {"sample_rate": 32_000, "format": "mp3", "channel": 1, "bitrate": 128_000},
    });
    assert_eq!(sent(&asked(json!({}))), want);
}

#[test]
fn voices_speeds_and_formats_are_mapped() {
    for (voice, want) in [
        (json!("alloy"), "male-qn-qingse"),
        (json!("echo"), "male-qn-jingying"),
        (json!("fable"), "female-shaonv"),
        (json!("onyx"), "male-qn-badao"),
        (json!("nova"), "female-yujie"),
        (json!("shimmer"), "female-tianmei"),
        (json!("English_Graceful_Lady"), "English_Graceful_Lady"),
        (json!({"id": "voice_1"}), "voice_1"),
    ] {
        assert_eq!(sent(&asked(json!({ "voice": voice })))["voice_setting"]["voice_id"], want);
    }
    for (speed, want) in [(0.25, 0.5), (0.5, 0.5), (1.2, 1.2), (4.0, 2.0)] {
        assert_eq!(sent(&asked(json!({ "speed": speed })))["voice_setting"]["speed"], want);
    }
    for (format, rate, streams) in
        [("mp3", 32_000, true), ("pcm", 24_000, true), ("flac", 32_000, true), ("wav", 32_000, false)]
    {
        let sent = sent(&asked(json!({ "response_format": format })));
        let setting = &sent["audio_setting"];
        assert_eq!(
            (&setting["format"], &setting["sample_rate"], &sent["stream"]),
            (&json!(format), &json!(rate), &json!(streams))
        );
        assert_eq!(
            (setting.get("bitrate").is_some(), sent.get("stream_options").is_some()),
            (format == "mp3", streams)
        );
    }
}

#[test]
fn what_minimax_cannot_do_is_refused_by_name_or_left_out_and_said_so() {
    let long = "字".repeat(10_001);
    for (body, code, param) in [
        (asked(json!({"input": null})), Code::MissingParameter, "input"),
        (asked(json!({"input": ""})), Code::InvalidParameter, "input"),
        (asked(json!({ "input": long })), Code::InvalidParameter, "input"),
        (asked(json!({"voice": null})), Code::MissingParameter, "voice"),
        (asked(json!({"voice": 1})), Code::InvalidParameter, "voice"),
        (asked(json!({"response_format": "opus"})), Code::InvalidParameter, "response_format"),
        (asked(json!({"response_format": "aac"})), Code::InvalidParameter, "response_format"),
        (asked(json!({"speed": 4.5})), Code::InvalidParameter, "speed"),
        (asked(json!({"stream_format": "ndjson"})), Code::InvalidParameter, "stream_format"),
    ] {
        let error = encode(&body).unwrap_err();
        assert_eq!((error.code(), error.param_name()), (code, Some(param)));
    }
    let exchange = encode(&asked(json!({"instructions": "softly", "emotion": "joy", "pitch": null}))).unwrap();
    assert_eq!(exchange.dropped, ["instructions", "emotion"]);
    assert!(encode(&asked(json!({"input": "字".repeat(10_000)}))).is_ok());
    assert!(!MiniMax.supports(Endpoint::Transcriptions));
}

const WHOLE: &str = r#"{"data":{"audio":"49443304FF00","status":2},"extra_info":{"audio_length":9900,"usage_characters":101},"trace_id":"t","base_resp":{"status_code":0,"status_msg":"success"}}"#;
const EVENTS: &str = include_str!("../../../tests/fixtures/minimax/speech.sse");

#[test]
fn a_whole_answer_becomes_its_sound_as_it_comes() {
    let heard = hear(json!({}), "application/json", &[WHOLE.as_bytes()]);
    assert_eq!(heard.body, b"ID3\x04\xff\0");
    assert_eq!((heard.usage, heard.complete, heard.failed), (Some(characters(101)), true, None));
    let mut decoder = encode(&asked(json!({}))).unwrap().decoder;
    let mut out = Output::default();
    decoder.push(Bytes::from_static(&WHOLE.as_bytes()[..25]), &mut out).unwrap();
    assert_eq!(out.next_frame().as_deref(), Some(&b"ID3"[..]), "the sound goes out before the answer's end");
    assert_eq!((out.delivered(), out.is_complete()), (characters(9), false));
}

#[test]
fn events_become_the_same_sound_and_the_repetition_at_their_end_is_left_out() {
    let heard = hear(json!({}), "text/event-stream", &[EVENTS.as_bytes()]);
    assert_eq!(heard.body, b"ID3\x04\xff\0");
    assert_eq!((heard.usage, heard.complete, heard.failed), (Some(characters(101)), true, None));
    let cut = &EVENTS[..EVENTS.find("data: {\"data\":{\"audio\":\"49443304ff00").unwrap()];
    let heard = hear(json!({}), "text/event-stream", &[cut.as_bytes()]);
    assert_eq!((heard.complete, heard.failed, heard.delivered), (false, None, characters(9)));
}

#[test]
fn a_caller_who_wants_events_gets_openais() {
    let text = String::from_utf8(hear(json!({"stream_format": "sse"}), "text/event-stream", &[EVENTS.as_bytes()]).body)
        .unwrap();
    let events: Vec<Value> = text
        .split_terminator("\n\n")
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
        .collect();
    assert_eq!(events[0], json!({"type": "speech.audio.delta", "audio": "SUQz"}));
    assert_eq!(events[1], json!({"type": "speech.audio.delta", "audio": "BP8A"}));
    assert_eq!((&events[2]["type"], &events[2]["usage"]["characters"]), (&json!("speech.audio.done"), &json!(101)));
}

#[test]
fn the_head_says_what_kind_of_sound_it_is() {
    let head = |more: Value| {
        let vendor = http::Response::builder().header("trace-id", "t").body(()).unwrap().into_parts().0;
        encode(&asked(more)).unwrap().decoder.head(&vendor).unwrap()
    };
    for (format, want) in [("mp3", "audio/mpeg"), ("pcm", "audio/pcm"), ("flac", "audio/flac"), ("wav", "audio/wav")] {
        let headers = head(json!({ "response_format": format }));
        assert_eq!((headers.len(), &headers["content-type"]), (1, &HeaderValue::from_static(want)));
    }
    assert_eq!(head(json!({"stream_format": "sse"}))["cache-control"], "no-cache");
}

#[test]
fn an_error_inside_a_success_fails_before_anything_goes_out() {
    let failing = |number: u64| format!(r#"{{"data":null,"base_resp":{{"status_code":{number},"status_msg":"m"}}}}"#);
    for (number, want) in [
        (1002, Code::ProviderRateLimited),
        (1004, Code::ProviderAuthError),
        (1008, Code::ProviderQuotaExhausted),
        (1026, Code::ContentPolicyViolation),
        (2042, Code::InvalidParameter),
        (2061, Code::ProviderModelUnavailable),
    ] {
        let whole = failing(number);
        let event = format!("data: {whole}\n\n");
        for (kind, text) in [("application/json", &whole), ("text/event-stream", &event)] {
            let heard = hear(json!({}), kind, &[text.as_bytes()]);
            assert_eq!((heard.failed, heard.body.len(), heard.delivered), (Some(want), 0, Usage::NONE));
        }
    }
    for text in [
        r#"{"data":{"audio":"","status":2},"base_resp":{"status_code":0}}"#,
        r#"{"data":{"audio":"zz"}}"#,
        r#"{"data":{"audio":null}"#,
        "[]",
        "",
    ] {
        let pieces: &[&[u8]] = if text.is_empty() { &[] } else { &[text.as_bytes()] };
        assert_eq!(hear(json!({}), "application/json", pieces).failed, Some(Code::ProviderError), "{text}");
    }
}

#[test]
fn a_failure_after_the_first_sound_fails_and_what_was_heard_is_known() {
    let text = "data: {\"data\":{\"audio\":\"4944\",\"status\":1}}\n\ndata: {\"base_resp\":{\"status_code\":1001,\"status_msg\":\"m\"}}\n\n";
    let heard = hear(json!({}), "text/event-stream", &[text.as_bytes()]);
    assert_eq!(
        (heard.failed, heard.body.as_slice(), heard.delivered),
        (Some(Code::ProviderTimeout), &b"ID"[..], characters(9))
    );
}

proptest! {
    #[test]
    fn the_cut_of_an_answer_does_not_matter(cuts in proptest::collection::vec(0.0f64..1.0, 0..20)) {
        for (kind, text) in [("application/json", WHOLE), ("text/event-stream", EVENTS)] {
            let mut places: Vec<usize> = cuts.iter().map(|share| (share * text.len() as f64) as usize).collect();
            places.extend([0, text.len()]);
            places.sort_unstable();
            let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(hear(json!({}), kind, &pieces), hear(json!({}), kind, &[text.as_bytes()]));
        }
    }
}
