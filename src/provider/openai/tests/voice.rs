//! Speech, transcriptions and translations.

use crate::base::money::Rate;
use crate::domain::price::{Price, Rates};
use crate::http::call::AudioLength;
use crate::wire::multipart;

use super::*;

const BOUNDARY: &str = "b(0";

/// A form with the recording first and the model behind it.
fn form(fields: &[(&str, &str)], file: &[u8]) -> Vec<u8> {
    let mut body = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n").into_bytes();
    body.extend(file);
    for (name, value) in fields {
        body.extend(
            format!("\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}").bytes(),
        );
    }
    body.extend(format!("\r\n--{BOUNDARY}--\r\n").bytes());
    body
}

/// Three seconds of silence.
fn wav() -> Vec<u8> {
    let mut file =
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\0\0\0\0".to_vec();
    file.resize(file.len() + 24_000, 0x80);
    file
}

fn upload_with(endpoint: Endpoint, fields: &[(&str, &str)], recording: Option<AudioLength>) -> Call {
    let pieces: Vec<Bytes> = form(fields, &wav()).chunks(1_000).map(Bytes::copy_from_slice).collect();
    let mut layout = multipart::Layout::new(&format!("multipart/form-data; boundary=\"{BOUNDARY}\"")).unwrap();
    pieces.iter().for_each(|piece| layout.push(piece));
    let walk = layout.take_walk();
    let mut facts = multipart::facts(&pieces, layout).unwrap();
    facts.read_recording(&pieces, walk);
    assert_eq!(facts.recording, Some(AudioLength::Told(3)));
    facts.recording = recording.or(facts.recording);
    Call::new(endpoint, facts, Segments::new(pieces), None)
}

fn upload(fields: &[(&str, &str)]) -> Call {
    upload_with(Endpoint::Transcriptions, fields, None)
}

fn speak(body: &str) -> Call {
    let bytes = Bytes::copy_from_slice(body.as_bytes());
    Call::new(Endpoint::Speech, peek(std::slice::from_ref(&bytes)).unwrap(), bytes.into(), None)
}

/// A target whose model has these prices.
fn priced(set: impl Fn(&mut Rates)) -> Target {
    let mut target = target(Dialect::OpenAi, "up");
    let mut rates = Rates::default();
    set(&mut rates);
    let mut terms = ModelTerms::new("alias", Modality::Voice);
    terms.price = Price::flat(rates);
    target.terms = Arc::new(terms);
    target
}

fn a_unit() -> Option<Rate> {
    Rate::per_unit("0.0001").ok()
}

fn by_second() -> Target {
    priced(|rates| rates.per_audio_second = a_unit())
}

fn by_character() -> Target {
    priced(|rates| rates.per_character = a_unit())
}

fn by_token() -> Target {
    priced(|rates| (rates.input, rates.output) = (a_unit(), a_unit()))
}

fn encode(call: &Call, target: &Target) -> Result<Exchange, Error> {
    OpenAi::new(Dialect::OpenAi).encode(call, target)
}

/// What the answer `text` comes to, and whether it went out as it came.
fn heard(call: &Call, target: &Target, content_type: &str, text: &str) -> Output {
    let (body, out, failed) = read(encode(call, target).unwrap(), Some(content_type), &[text.as_bytes()]);
    assert_eq!((String::from_utf8(body).unwrap().as_str(), failed.is_none()), (text, true));
    assert!(out.is_complete());
    out
}

fn seconds(n: u64) -> Option<Usage> {
    Some(Usage { audio_seconds: n, ..Usage::NONE })
}

#[test]
fn an_upload_goes_on_in_its_own_pieces_with_the_model_alone_replaced() {
    let call = upload(&[("language", "en"), ("model", "alias"), ("include[]", "logprobs")]);
    let exchange = encode(&call, &by_second()).unwrap();
    let request = exchange.request.unwrap();
    assert_eq!(request.uri(), "http://vendor.test/v1/audio/transcriptions");
    assert_eq!(request.headers()["content-type"], "multipart/form-data; boundary=\"b(0\"");
    assert_eq!(request.headers()["authorization"], "Bearer upstream-secret");
    let body = request.into_body();
    let came = call.segments().pieces();
    let shared = body
        .segments()
        .pieces()
        .iter()
        .filter(|piece| came.iter().any(|whole| whole.as_ptr_range().contains(&piece.as_ptr())));
    assert_eq!(shared.map(Bytes::len).sum::<usize>(), body.segments().len() - "up".len());
    let want = form(&[("language", "en"), ("model", "up"), ("include[]", "logprobs")], &wav());
    assert_eq!(body.into_bytes(), want);
}

#[test]
fn translations_have_a_path_of_their_own() {
    let call = upload_with(Endpoint::Translations, &[("model", "up")], None);
    let request = encode(&call, &by_second()).unwrap().request.unwrap();
    assert_eq!(request.uri().path(), "/v1/audio/translations");
    assert_eq!(request.into_body().into_bytes(), call.body(), "a model that is already the vendor's stays");
}

#[test]
fn every_format_of_a_transcript_passes_and_is_billed_by_what_is_known_of_its_length() {
    let json = "application/json";
    let verbose = r#"{"task":"transcribe","duration":8.47,"text":"Hi","segments":[{"duration":99}]}"#;
    let told = r#"{"text":"Hi","usage":{"type":"duration","seconds":9}}"#;
    for (format, content_type, text, want) in [
        ("json", json, told, 9),
        ("json", json, r#"{"text":"Hi"}"#, 3),
        ("verbose_json", json, verbose, 9),
        (
            "verbose_json",
            json,
            &format!("{},\"usage\":{{\"type\":\"duration\",\"seconds\":11}}}}", &verbose[..verbose.len() - 1]),
            11,
        ),
        ("text", "text/plain; charset=utf-8", "Hi\n", 3),
        ("text", "text/plain; charset=utf-8", "", 3),
        ("srt", "text/plain", "1\n00:00:00,000 --> 00:00:03,000\nHi\n\n", 3),
        ("vtt", "text/vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:03.000\nHi\n\n", 3),
    ] {
        let out = heard(&upload(&[("response_format", format), ("model", "m")]), &by_second(), content_type, text);
        assert_eq!(out.usage(), seconds(want), "{format}: {text}");
    }
}

#[test]
fn a_length_that_nobody_tells_is_left_to_the_estimate() {
    let call = upload_with(Endpoint::Transcriptions, &[("model", "m")], Some(AudioLength::AtMost(50)));
    let out = heard(&call, &by_second(), "text/plain", "Hi\n");
    assert_eq!((out.usage(), out.delivered().audio_seconds), (None, 50));
}

const TRANSCRIPT: &str = include_str!("../../../../tests/fixtures/openai/transcript.sse");
const SPEECH: &str = include_str!("../../../../tests/fixtures/openai/speech.sse");

#[test]
fn tokens_count_where_they_have_a_price_or_nothing_has() {
    let call = upload(&[("stream", "true"), ("model", "m")]);
    let tokens = Usage { input_tokens: 37, audio_input_tokens: 35, output_tokens: 12, audio_seconds: 3, ..Usage::NONE };
    for (target, want) in
        [(by_token(), Some(tokens)), (target(Dialect::OpenAi, "up"), Some(tokens)), (by_second(), seconds(3))]
    {
        let out = heard(&call, &target, "text/event-stream", TRANSCRIPT);
        assert_eq!(out.usage(), want);
        assert!(
            target.terms.price == Price::Unpriced
                || target.terms.price.cost(&want.unwrap(), &Default::default()).is_some()
        );
    }
}

#[test]
fn a_silent_answer_of_a_model_billed_by_token_is_estimated() {
    let out = heard(&upload(&[("model", "m"), ("response_format", "text")]), &by_token(), "text/plain", "Hello there.");
    let want = Usage { input_tokens: 30, audio_input_tokens: 30, output_tokens: 3, audio_seconds: 3, ..Usage::NONE };
    assert_eq!((out.usage(), out.delivered()), (None, want));
}

#[test]
fn a_transcript_that_breaks_off_is_not_complete_and_an_error_in_it_fails() {
    let call = upload(&[("stream", "true"), ("model", "m")]);
    let cut = &TRANSCRIPT[..TRANSCRIPT.find("data: {\"type\":\"transcript.text.done").unwrap()];
    let (_, out, failed) = read(encode(&call, &by_second()).unwrap(), Some("text/event-stream"), &[cut.as_bytes()]);
    assert_eq!((out.is_complete(), failed.is_none(), out.delivered()), (false, true, seconds(3).unwrap()));
    let event = "data: {\"type\":\"error\",\"error\":{\"message\":\"m\",\"code\":\"server_error\"}}\n\n";
    let (_, out, failed) = read(encode(&call, &by_second()).unwrap(), Some("text/event-stream"), &[event.as_bytes()]);
    assert_eq!((failed.map(|error| error.code()), out.delivered()), (Some(Code::ProviderError), Usage::NONE));
}

const SPEAK: &str = r#"{"model":"alias","input":"Grüße","voice":"alloy","response_format":"flac"}"#;

fn characters(n: u64) -> Option<Usage> {
    Some(Usage { characters: n, ..Usage::NONE })
}

#[test]
fn speech_passes_piece_by_piece_with_its_content_type() {
    let exchange = encode(&speak(SPEAK), &by_character()).unwrap();
    let request = exchange.request.as_ref().unwrap();
    assert_eq!(
        (request.uri().path(), &request.headers()["accept"]),
        ("/v1/audio/speech", &HeaderValue::from_static("*/*"))
    );
    let mut decoder = exchange.decoder;
    let vendor = http::Response::builder().header("content-type", "audio/x-flac").body(()).unwrap().into_parts().0;
    let headers = decoder.head(&vendor).unwrap();
    assert_eq!((headers.len(), &headers["content-type"]), (1, &HeaderValue::from_static("audio/x-flac")));
    let mut out = Output::default();
    let piece = Bytes::from(vec![0xff; 100]);
    decoder.push(piece.clone(), &mut out).unwrap();
    assert_eq!(out.next_frame().map(|frame| frame.as_ptr()), Some(piece.as_ptr()), "nothing is copied or held back");
    assert_eq!((out.usage(), out.delivered().characters, out.is_complete()), (None, 5, false));
    decoder.finish(&mut out).unwrap();
    assert_eq!((out.usage(), out.is_complete()), (characters(5), true));
}

#[test]
fn sound_without_a_content_type_gets_that_of_the_format() {
    for (format, want) in [
        ("mp3", "audio/mpeg"),
        ("opus", "audio/opus"),
        ("aac", "audio/aac"),
        ("flac", "audio/flac"),
        ("wav", "audio/wav"),
        ("pcm", "audio/pcm"),
    ] {
        let call = speak(&format!(r#"{{"model":"m","input":"x","response_format":"{format}"}}"#));
        let headers =
            encode(&call, &by_character()).unwrap().decoder.head(&http::Response::new(()).into_parts().0).unwrap();
        assert_eq!(headers["content-type"], want);
    }
}

#[test]
fn a_success_without_sound_is_a_failure() {
    for (content_type, body) in [("audio/mpeg", ""), ("application/json", r#"{"error":"x"}"#), ("text/html", "<html>")]
    {
        let pieces: &[&[u8]] = if body.is_empty() { &[] } else { &[body.as_bytes()] };
        let (sent, _, failed) = read(encode(&speak(SPEAK), &by_character()).unwrap(), Some(content_type), pieces);
        assert_eq!((sent.len(), failed.map(|error| error.code())), (0, Some(Code::ProviderError)), "{content_type}");
    }
}

#[test]
fn streamed_speech_tells_its_tokens_at_the_end() {
    let call = speak(r#"{"model":"m","input":"Hello","voice":"alloy","stream_format":"sse"}"#);
    let tokens = Usage { input_tokens: 14, output_tokens: 101, characters: 5, ..Usage::NONE };
    assert_eq!(heard(&call, &by_token(), "text/event-stream", SPEECH).usage(), Some(tokens));
    assert_eq!(heard(&call, &by_character(), "text/event-stream", SPEECH).usage(), characters(5));
}

#[test]
fn a_text_that_the_vendor_would_not_speak_is_refused_by_name() {
    let long = format!(r#"{{"model":"m","input":"{}"}}"#, "ä".repeat(4_097));
    for (body, code) in [
        (r#"{"model":"m"}"#, Code::MissingParameter),
        (r#"{"model":"m","input":null}"#, Code::MissingParameter),
        (r#"{"model":"m","input":""}"#, Code::InvalidParameter),
        (&long, Code::InvalidParameter),
    ] {
        let error = encode(&speak(body), &by_character()).unwrap_err();
        assert_eq!((error.code(), error.param_name()), (code, Some("input")));
    }
    let just = speak(&long.replacen('ä', "", 1));
    assert!(encode(&just, &by_character()).is_ok());
    let compatible = OpenAi::new(Dialect::Compatible);
    assert!(compatible.encode(&speak(&long), &by_character()).is_ok(), "another server may have other limits");
}

#[test]
fn recorded_sound_comes_back_as_it_was() {
    for exchange in recorded_of("openai", &["tts"]) {
        let body = exchange["request"]["body"]["json"].to_string();
        let sound = exchange["response"]["body"]["base64"].as_str().unwrap();
        let kind = exchange["response"]["headers"]["content-type"].as_str().unwrap();
        let (out, told, failed) =
            read(encode(&speak(&body), &by_character()).unwrap(), Some(kind), &[sound.as_bytes()]);
        assert!(out == sound.as_bytes() && failed.is_none() && told.is_complete(), "{}", exchange["id"]);
        let spoken = exchange["request"]["body"]["json"]["input"].as_str().unwrap().chars().count();
        assert_eq!(told.usage(), characters(spoken as u64));
    }
}

#[test]
fn recorded_transcripts_come_back_as_they_were_with_the_usage_that_they_tell() {
    for exchange in recorded_of("openai", &["asr"]) {
        let text = exchange["response"]["body"]["text"].as_str().unwrap();
        let stream = exchange["stream"] == true;
        let kind = if stream { "text/event-stream" } else { "application/json" };
        let call = upload(&[("model", "m"), ("stream", if stream { "true" } else { "false" })]);
        let used = heard(&call, &target(Dialect::OpenAi, "m"), kind, text).usage().unwrap();
        let last = text.lines().rev().find_map(|line| line.strip_prefix("data: {").map(|rest| format!("{{{rest}")));
        let told: Value = serde_json::from_str(last.as_deref().unwrap_or(text)).unwrap();
        let told = &told["usage"];
        match told["seconds"].as_u64() {
            Some(seconds) => assert_eq!((used.audio_seconds, used.input_tokens), (seconds, 0)),
            None => {
                let want =
                    [&told["input_tokens"], &told["input_token_details"]["audio_tokens"], &told["output_tokens"]];
                let found = [used.input_tokens, used.audio_input_tokens, used.output_tokens];
                assert_eq!(found.map(Some), want.map(Value::as_u64), "{}", exchange["id"]);
            }
        }
    }
}

proptest! {
    #[test]
    fn the_cut_of_an_answer_does_not_matter(cuts in proptest::collection::vec(0.0f64..1.0, 0..20)) {
        let verbose = r#"{"duration":8.47,"text":"Hi","usage":{"type":"duration","seconds":9}}"#;
        let answers = [
            (upload(&[("stream", "true")]), "text/event-stream", TRANSCRIPT),
            (speak(SPEAK), "text/event-stream", SPEECH),
            (upload(&[]), "application/json", verbose),
            (upload(&[]), "application/json", r#"{"text":"Hi","duration":8.47}"#),
        ];
        for (call, kind, text) in answers {
            let seen = |pieces: &[&[u8]]| {
                let (body, out, failed) = read(encode(&call, &by_second()).unwrap(), Some(kind), pieces);
                (body, out.usage(), out.delivered(), out.is_complete(), failed.is_some())
            };
            prop_assert_eq!(seen(&cut(text.as_bytes(), &cuts)), seen(&[text.as_bytes()]));
        }
    }
}
