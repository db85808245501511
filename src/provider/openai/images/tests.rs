//! The image routes against hand-made answers and, where they are at hand, recorded ones.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::base::error::Code;
use crate::base::money::Rate;
use crate::domain::endpoint::Endpoint;
use crate::domain::modality::Modality;
use crate::domain::model::{ModelTerms, OptionPolicy};
use crate::domain::price::{Price, Rates};
use crate::http::body::Segments;
use crate::provider::openai::OpenAi;
use crate::provider::traits::{Credential, Output, Provider, Timeouts};
use crate::wire::{multipart, peek};

fn target(dialect: Dialect, upstream: &str) -> Target {
    let mut terms = ModelTerms::new("alias", Modality::Image);
    let rates = Rates { input: Rate::per_million("5").ok(), output: Rate::per_million("30").ok(), ..Rates::NONE };
    terms.price = Price::flat(rates);
    Target {
        provider: "p".into(),
        codec: Arc::new(OpenAi::new(dialect)),
        base_url: "http://vendor.test/v1".parse().unwrap(),
        credential: Arc::new(Credential::ApiKey("upstream-secret".into())),
        upstream: upstream.into(),
        terms: Arc::new(terms),
        timeouts: Timeouts::default(),
        content_hosts: Arc::new([]),
    }
}

fn call(endpoint: Endpoint, body: &str) -> Call {
    let bytes = Bytes::copy_from_slice(body.as_bytes());
    let pieces = vec![bytes.slice(..bytes.len() / 2), bytes.slice(bytes.len() / 2..)];
    let facts = peek::peek(&pieces).expect(body);
    Call::new(endpoint, facts, Segments::new(pieces), None)
}

fn make(upstream: &str, body: &str) -> Result<Exchange, Error> {
    OpenAi::new(Dialect::OpenAi).encode(&call(Endpoint::ImageGenerations, body), &target(Dialect::OpenAi, upstream))
}

fn sent(exchange: Exchange) -> String {
    String::from_utf8(exchange.request.unwrap().into_body().into_bytes().to_vec()).unwrap()
}

#[derive(Debug, Default, PartialEq)]
struct Decoded {
    text: String,
    usage: Option<Usage>,
    complete: bool,
    error: Option<Code>,
}

fn decode<'p>(exchange: Exchange, kind: &'static str, pieces: impl Iterator<Item = &'p [u8]>) -> Decoded {
    let (mut decoder, mut out) = (exchange.decoder, Output::default());
    let (mut head, ()) = Response::new(()).into_parts();
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    decoder.head(&head).unwrap();
    let mut result = Ok(());
    for piece in pieces {
        result = result.and_then(|()| decoder.push(Bytes::copy_from_slice(piece), &mut out));
    }
    result = result.and_then(|()| decoder.finish(&mut out));
    let mut text = String::new();
    while let Some(frame) = out.next_frame() {
        text.push_str(std::str::from_utf8(&frame).unwrap());
    }
    Decoded { text, usage: out.usage(), complete: out.is_complete(), error: result.err().map(|e| e.code()) }
}

fn whole(exchange: Exchange, body: &str) -> Decoded {
    decode(exchange, "application/json", body.as_bytes().chunks(7))
}

#[test]
fn what_the_model_knows_goes_on_byte_for_byte() {
    for (upstream, body) in [
        (
            "gpt-image-2",
            r#"{ "model":"alias", "prompt":"a\u00e9", "size":"1536x1024", "quality":"auto","n":2,"output_format":"webp"}"#,
        ),
        ("gpt-image-1", r#"{"model":"alias","prompt":"a","size":"auto","stream":true,"partial_images":3,"user":"u"}"#),
        ("dall-e-3", r#"{"model":"alias","prompt":"a","response_format":"b64_json","quality":"hd","style":"natural"}"#),
        (
            "unknown-model",
            r#"{"model":"alias","prompt":"a","size":"7x7","seed":1,"n":99,"quality":"ultra","response_format":"url"}"#,
        ),
    ] {
        let exchange = make(upstream, body).unwrap();
        assert!(exchange.dropped.is_empty());
        assert_eq!(exchange.request.as_ref().unwrap().uri(), "http://vendor.test/v1/images/generations");
        assert_eq!(sent(exchange), body.replace("alias", upstream));
    }
}

#[test]
fn what_the_model_does_not_know_is_taken_out() {
    for (upstream, body, want, dropped) in [
        (
            "gpt-image-1",
            r#"{"model":"m","seed":1,"prompt":"a","negative_prompt":"b","watermark":false,"style":null,"response_format":"b64_json"}"#,
            r#"{"model":"gpt-image-1","prompt":"a"}"#,
            &["negative_prompt", "seed"][..],
        ),
        (
            "gpt-image-1",
            r#"{"model":"m","prompt":"a","size":"1792x1024"}"#,
            r#"{"model":"gpt-image-1","prompt":"a","size":"1536x1024"}"#,
            &[],
        ),
        (
            "dall-e-3",
            r#"{"model":"m","prompt":"a","size":"1536x1024","background":"opaque","quality":"auto"}"#,
            r#"{"model":"dall-e-3","prompt":"a","size":"1792x1024"}"#,
            &["background"],
        ),
    ] {
        let exchange = make(upstream, body).unwrap();
        assert_eq!(exchange.dropped, dropped);
        assert_eq!(sent(exchange), want);
    }
}

#[test]
fn what_the_vendor_would_refuse_is_refused_with_what_is_allowed() {
    for (upstream, body, param, said) in [
        ("gpt-image-2", r#"{"model":"m","prompt":"a","n":11}"#.to_owned(), "n", "at most 10"),
        ("dall-e-3", r#"{"model":"m","prompt":"a","n":2}"#.to_owned(), "n", "at most 1 "),
        ("dall-e-2", format!(r#"{{"model":"m","prompt":"{}"}}"#, "a".repeat(1_001)), "prompt", "at most 1000"),
        ("dall-e-3", format!(r#"{{"model":"m","prompt":"{}"}}"#, "a".repeat(4_001)), "prompt", "at most 4000"),
        ("gpt-image-1", format!(r#"{{"model":"m","prompt":"{}"}}"#, "a".repeat(32_001)), "prompt", "at most 32000"),
        ("gpt-image-2", r#"{"model":"m","prompt":"a","quality":"hd"}"#.to_owned(), "quality", "low, medium, high"),
        ("dall-e-3", r#"{"model":"m","prompt":"a","quality":"ultra"}"#.to_owned(), "quality", "standard, hd"),
        ("dall-e-3", r#"{"model":"m","prompt":"a","stream":true}"#.to_owned(), "stream", "one answer"),
        ("gpt-image-2", r#"{"model":"m","prompt":"a","image":"https://a"}"#.to_owned(), "image", "/v1/images/edits"),
    ] {
        let error = make(upstream, &body).unwrap_err();
        assert_eq!((error.code().status().as_u16(), error.param_name()), (400, Some(param)), "{error}");
        assert!(error.message().contains(said), "{error}");
    }
}

#[test]
fn a_quality_of_another_model_becomes_the_next_up_where_the_operator_says_so() {
    for (upstream, asked, made) in [
        ("gpt-image-2", "hd", "high"),
        ("gpt-image-2", "standard", "medium"),
        ("dall-e-3", "high", "hd"),
        ("dall-e-3", "low", "standard"),
    ] {
        let mut target = target(Dialect::OpenAi, upstream);
        Arc::make_mut(&mut target.terms).options = OptionPolicy::Nearest;
        let call = call(Endpoint::ImageGenerations, &format!(r#"{{"model":"m","prompt":"a","quality":"{asked}"}}"#));
        let exchange = OpenAi::new(Dialect::OpenAi).encode(&call, &target).unwrap();
        assert!(sent(exchange).contains(&format!(r#""quality":"{made}""#)), "{upstream} {asked}");
    }
}

const FORM: &str = "--x y\r\nContent-Disposition: form-data; name=\"image[]\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n\
    \u{7f}PNG\r\n--x y\r\nContent-Disposition: form-data; name=\"seed\"\r\n\r\n7\r\n\
    --x y\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nalias\r\n\
    --x y\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\nmore sky\r\n\
    --x y\r\nContent-Disposition: form-data; name=\"size\"\r\n\r\n1792x1024\r\n--x y--\r\n";

#[test]
fn a_form_goes_on_with_its_files_shared_and_its_texts_spliced() {
    let body = Bytes::from_static(FORM.as_bytes());
    let facts = multipart::read(std::slice::from_ref(&body), "multipart/form-data; boundary=\"x y\"").unwrap();
    let call = Call::new(Endpoint::ImageEdits, facts, Segments::from(body.clone()), None);
    let exchange = OpenAi::new(Dialect::OpenAi).encode(&call, &target(Dialect::OpenAi, "gpt-image-1")).unwrap();
    assert_eq!(exchange.dropped, ["seed"]);
    let request = exchange.request.unwrap();
    assert_eq!(request.uri(), "http://vendor.test/v1/images/edits");
    assert_eq!(request.headers()[CONTENT_TYPE], "multipart/form-data; boundary=\"x y\"");
    let segments = request.into_body();
    assert_eq!(segments.segments().pieces()[0].as_ptr(), body.as_ptr(), "the file was copied");
    let sent = segments.into_bytes();
    let seed = "--x y\r\nContent-Disposition: form-data; name=\"seed\"\r\n\r\n7\r\n";
    let want = FORM.replace(seed, "").replace("\r\nalias\r\n", "\r\ngpt-image-1\r\n").replace("1792x1024", "1536x1024");
    assert_eq!(std::str::from_utf8(&sent).unwrap(), want);
    assert!(multipart::read(&[sent], "multipart/form-data; boundary=\"x y\"").is_ok());
}

const USED: &str = r#""usage":{"input_tokens":10,"output_tokens":272,"total_tokens":282,"input_tokens_details":{"text_tokens":10,"image_tokens":0}}"#;

#[test]
fn an_answer_passes_through_and_is_counted() {
    let body = format!(r#"{{ "created":1,"data":[{{"b64_json":"aGk=","url":null}},{{"b64_json":"aGk="}}],{USED}}}"#);
    let decoded = whole(make("gpt-image-2", r#"{"model":"m","prompt":"a","n":2}"#).unwrap(), &body);
    assert_eq!(decoded.text, body);
    let want = Usage { images: 2, input_tokens: 10, output_tokens: 272, image_output_tokens: 272, ..Usage::NONE };
    assert_eq!((decoded.usage, decoded.complete, decoded.error), (Some(want), true, None));

    let body = r#"{"created":1,"data":[{"url":"https://x","revised_prompt":"y"}]}"#;
    let decoded = whole(make("dall-e-3", r#"{"model":"m","prompt":"a","seed":1}"#).unwrap(), body);
    let warned: Value = serde_json::from_str(&decoded.text).unwrap();
    assert!(warned["warnings"][0].as_str().unwrap().contains("\"seed\"") && decoded.text.ends_with(&body[1..]));
    assert_eq!(decoded.usage, Some(Usage { images: 1, ..Usage::NONE }));
}

#[test]
fn a_url_of_a_model_that_has_none_is_a_data_url() {
    let body = format!(r#"{{"created":1,"output_format":"webp","data":[{{"b64_json":"aGk="}}],{USED}}}"#);
    let decoded = whole(make("gpt-image-2", r#"{"model":"m","prompt":"a","response_format":"url"}"#).unwrap(), &body);
    let value: Value = serde_json::from_str(&decoded.text).unwrap();
    assert_eq!(value["data"], json!([{"url": "data:image/webp;base64,aGk="}]));
    assert_eq!((value["usage"]["total_tokens"].as_u64(), decoded.usage.unwrap().output_tokens), (Some(282), 272));
}

#[test]
fn an_answer_that_breaks_off_or_fails_is_no_answer() {
    for (body, code) in [
        (r#"{"created":1,"data":[{"b64_json":"aGk"#, Code::ProviderError),
        (
            r#"{"error":{"code":"moderation_blocked","type":"image_generation_user_error","message":"m"}}"#,
            Code::ContentPolicyViolation,
        ),
        ("", Code::ProviderError),
    ] {
        let decoded = whole(make("gpt-image-2", r#"{"model":"m","prompt":"a"}"#).unwrap(), body);
        assert_eq!((decoded.error, decoded.complete, decoded.text.as_str()), (Some(code), false, ""));
    }
}

fn streamed(pieces: &[&[u8]]) -> Decoded {
    let exchange = make("gpt-image-2", r#"{"model":"m","prompt":"a","stream":true}"#).unwrap();
    decode(exchange, "text/event-stream", pieces.iter().copied())
}

fn events(picture: usize, end: &str) -> String {
    let b64 = "A".repeat(picture);
    format!(
        "event: image_generation.partial_image{end}data: {{\"type\":\"image_generation.partial_image\",\"b64_json\":\"{b64}\",\"partial_image_index\":0}}{end}{end}\
         event: image_generation.completed{end}data: {{\"type\":\"image_generation.completed\",\"b64_json\":\"{b64}\",{USED}}}{end}{end}"
    )
}

#[test]
fn a_stream_of_large_pictures_passes_through_without_being_gathered() {
    let text = events(10 << 20, "\n");
    let exchange = make("gpt-image-2", r#"{"model":"m","prompt":"a","stream":true}"#).unwrap();
    let (mut decoder, mut out) = (exchange.decoder, Output::default());
    let (mut head, ()) = Response::new(()).into_parts();
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    decoder.head(&head).unwrap();
    let (mut given, mut most) = (0, 0);
    for piece in text.as_bytes().chunks(16 * 1024) {
        decoder.push(Bytes::copy_from_slice(piece), &mut out).unwrap();
        given += piece.len();
        while let Some(frame) = out.next_frame() {
            given -= frame.len();
        }
        most = most.max(given);
    }
    assert!(most <= 20 * 1024, "{most} bytes were held back");
    assert!(out.is_complete() && out.usage().unwrap().images == 1 && out.usage().unwrap().output_tokens == 272);
}

#[test]
fn an_error_in_a_stream_is_no_event_of_it() {
    let partial = events(10, "\n");
    let partial = partial.split_inclusive("\n\n").next().unwrap();
    for (event, code) in [
        (
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"image_generation_user_error\",\"code\":\"moderation_blocked\",\"message\":\"m\"}}\n\n",
            Code::ContentPolicyViolation,
        ),
        ("data: {\"error\":{\"message\":\"m\",\"code\":\"rate_limit_exceeded\"}}\n\n", Code::ProviderRateLimited),
        ("event: error\ndata: {\"code\":\"server_error\",\"message\":\"m\"}\n\n", Code::ProviderError),
    ] {
        let text = format!("{partial}{event}");
        for at in 0..text.len() {
            let decoded = streamed(&[&text.as_bytes()[..at], &text.as_bytes()[at..]]);
            assert_eq!(
                (decoded.error, decoded.text.as_str(), decoded.complete),
                (Some(code), partial, false),
                "cut at {at}"
            );
        }
    }
    let decoded = streamed(&[partial.as_bytes()]);
    assert_eq!((decoded.error, decoded.complete), (None, false), "a stream without its end is not whole");
}

proptest! {
    #[test]
    fn a_streams_cut_does_not_matter(
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
        picture in prop_oneof![1usize..50, 4_000usize..9_000],
        end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
    ) {
        let text = events(picture, end);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.index(text.len())).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|w| &text.as_bytes()[w[0]..w[1]]).collect();
        let decoded = streamed(&pieces);
        prop_assert_eq!(decoded.text, text);
        prop_assert!(decoded.complete && decoded.error.is_none());
        prop_assert_eq!(decoded.usage.map(|u| (u.images, u.image_output_tokens)), Some((1, 272)));
    }
}

fn seedream(endpoint: Endpoint, body: &str) -> Result<Exchange, Error> {
    OpenAi::new(Dialect::Ark).encode(&call(endpoint, body), &target(Dialect::Ark, "doubao-seedream-4-5-251128"))
}

#[test]
fn seedream_makes_the_products_example_large_enough_and_without_a_watermark() {
    let exchange =
        seedream(Endpoint::ImageGenerations, r#"{"model":"m","prompt":"a","size":"1536x1024","seed":1,"user":"u"}"#)
            .unwrap();
    assert_eq!(exchange.dropped, ["seed", "user"]);
    let request = exchange.request.as_ref().unwrap();
    assert_eq!(request.uri(), "http://vendor.test/v1/images/generations");
    let sent: Value = serde_json::from_str(&sent(exchange)).unwrap();
    assert_eq!(
        sent,
        json!({"model": "doubao-seedream-4-5-251128", "prompt": "a", "size": "2496x1664", "watermark": false})
    );
    let edit = seedream(
        Endpoint::ImageEdits,
        r#"{"model":"m","prompt":"a","images":[{"image_url":"https://a/b"}],"watermark":true,"response_format":"url"}"#,
    );
    let request = edit.as_ref().unwrap().request.as_ref().unwrap();
    assert_eq!(request.uri(), "http://vendor.test/v1/images/generations");
    assert_eq!(
        serde_json::from_str::<Value>(&self::sent(edit.unwrap())).unwrap(),
        json!({"model": "doubao-seedream-4-5-251128", "prompt": "a", "image": ["https://a/b"], "response_format": "url", "watermark": true})
    );
    for (endpoint, body) in [
        (Endpoint::ImageGenerations, r#"{"prompt":"a","n":11}"#),
        (Endpoint::ImageGenerations, r#"{"prompt":"a","stream":true}"#),
        (Endpoint::ImageEdits, r#"{"prompt":"a"}"#),
        (Endpoint::ImageEdits, r#"{"prompt":"a","image":"https://a","mask":"https://b"}"#),
    ] {
        assert_eq!(seedream(endpoint, body).unwrap_err().code().status(), 400, "{body}");
    }
}

#[test]
fn seedreams_answer_goes_on_as_it_is_and_its_failures_are_told() {
    let request = r#"{"model":"m","prompt":"a"}"#;
    let good = r#"{"model":"x","created":1,"data":[{"url":"https://x","size":"2048x2048"}],"usage":{"generated_images":1,"output_tokens":16384,"total_tokens":16384}}"#;
    let decoded = whole(seedream(Endpoint::ImageGenerations, request).unwrap(), good);
    assert_eq!((decoded.text.as_str(), decoded.usage.unwrap().images), (good, 1));

    for missing in [r#"{"error":{"code":"OutputImageSensitiveContentDetected","message":"m"}}"#, "{}", "[]"] {
        let some = format!(r#"{{"data":[{{"url":"https://x"}},{missing}]}}"#);
        let decoded = whole(seedream(Endpoint::ImageGenerations, request).unwrap(), &some);
        let value: Value = serde_json::from_str(&decoded.text).unwrap();
        assert_eq!((value["data"].as_array().unwrap().len(), decoded.usage.unwrap().images), (1, 1), "{missing}");
        assert_eq!(value["warnings"].as_array().unwrap().len(), 1, "{missing}");
    }

    for (body, code) in [
        (
            r#"{"data":[{"error":{"code":"OutputImageSensitiveContentDetected","message":"m"}}]}"#,
            Code::ContentPolicyViolation,
        ),
        (r#"{"data":[{"error":{"code":"InternalServiceError","message":"m"}}]}"#, Code::ProviderError),
        (r#"{"error":{"code":"ModelAccountIpmRateLimitExceeded","message":"m"}}"#, Code::ProviderRateLimited),
        (r#"{"data":[]}"#, Code::ProviderError),
        ("<html>", Code::ProviderError),
    ] {
        assert_eq!(whole(seedream(Endpoint::ImageGenerations, request).unwrap(), body).error, Some(code), "{body}");
    }
}

#[test]
fn every_row_of_the_vendors_error_tables_has_its_code() {
    use Code::{
        ContentPolicyViolation as Policy, InvalidParameter as Parameter, ModelNotFound as NoModel,
        ProviderAuthError as Auth, ProviderError as Failed, ProviderModelUnavailable as Closed,
        ProviderOverloaded as Overloaded, ProviderQuotaExhausted as Exhausted, ProviderRateLimited as RateLimited,
    };
    for (dialect, status, code, want) in [
        (Dialect::OpenAi, 400, "moderation_blocked", Policy),
        (Dialect::OpenAi, 400, "content_policy_violation", Policy),
        (Dialect::OpenAi, 400, "billing_hard_limit_reached", Exhausted),
        (Dialect::OpenAi, 400, "invalid_image_file", Parameter),
        (Dialect::OpenAi, 400, "unknown_parameter", Parameter),
        (Dialect::OpenAi, 400, "invalid_image_url", Parameter),
        (Dialect::OpenAi, 429, "rate_limit_exceeded", RateLimited),
        (Dialect::Ark, 400, "MissingParameter.prompt", Parameter),
        (Dialect::Ark, 400, "InvalidParameter.OversizedImage", Parameter),
        (Dialect::Ark, 400, "InvalidParameter.UnsupportedImageFormat", Parameter),
        (Dialect::Ark, 400, "InvalidArgumentError", Parameter),
        (Dialect::Ark, 400, "SensitiveContentDetected.Violence", Policy),
        (Dialect::Ark, 400, "InputTextSensitiveContentDetected", Policy),
        (Dialect::Ark, 400, "InputImageSensitiveContentDetected.PrivacyInformation", Policy),
        (Dialect::Ark, 400, "OutputImageSensitiveContentDetected", Policy),
        (Dialect::Ark, 400, "InputTextRiskDetection", Policy),
        (Dialect::Ark, 400, "InvalidEndpoint.ClosedEndpoint", Closed),
        (Dialect::Ark, 401, "AuthenticationError", Auth),
        (Dialect::Ark, 401, "InvalidAccountStatus", Auth),
        (Dialect::Ark, 403, "AccessDenied", Auth),
        (Dialect::Ark, 403, "AccountOverdueError", Exhausted),
        (Dialect::Ark, 403, "OperationDenied.ServiceOverdue", Exhausted),
        (Dialect::Ark, 404, "InvalidEndpointOrModel.NotFound", NoModel),
        (Dialect::Ark, 404, "InvalidEndpointOrModel.ModelIDAccessDisabled", NoModel),
        (Dialect::Ark, 404, "ModelNotOpen", NoModel),
        (Dialect::Ark, 404, "UnsupportedModel", NoModel),
        (Dialect::Ark, 429, "RateLimitExceeded.EndpointRPMExceeded", RateLimited),
        (Dialect::Ark, 429, "ModelAccountIpmRateLimitExceeded", RateLimited),
        (Dialect::Ark, 429, "APIAccountRpmRateLimitExceeded", RateLimited),
        (Dialect::Ark, 429, "RequestBurstTooFast", RateLimited),
        (Dialect::Ark, 429, "InflightBatchsizeExceeded", RateLimited),
        (Dialect::Ark, 429, "ServerOverloaded", Overloaded),
        (Dialect::Ark, 429, "SetLimitExceeded", Exhausted),
        (Dialect::Ark, 500, "InternalServiceError", Failed),
        (Dialect::Ark, 503, "ServiceUnavailable", Overloaded),
    ] {
        let body = json!({"error": {"code": code, "message": "m", "param": "", "type": "x"}}).to_string();
        let error =
            OpenAi::new(dialect).fault(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes());
        assert_eq!(error.code(), want, "{dialect:?} {status} {code}");
    }
}

fn recordings(vendor: &str) -> Vec<Value> {
    let beside = ["../shared", "../../shared"].map(|shared| Path::new(env!("CARGO_MANIFEST_DIR")).join(shared));
    let folders = beside.iter().map(|shared| shared.join("conformance/recordings").join(vendor));
    let files = folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let all = files.map(|file| serde_json::from_slice::<Value>(&std::fs::read(file.path()).unwrap()).unwrap());
    all.filter(|recording| recording["kind"] == "images").collect()
}

#[test]
fn recorded_answers_pass_through_and_are_counted() {
    for (vendor, dialect) in [("openai", Dialect::OpenAi), ("doubao", Dialect::Ark), ("xai", Dialect::Compatible)] {
        for recording in recordings(vendor) {
            let text = recording["response"]["body"]["text"].as_str().unwrap();
            let given: Value = serde_json::from_str(text).unwrap();
            let call = call(Endpoint::ImageGenerations, r#"{"model":"m","prompt":"a"}"#);
            let exchange = OpenAi::new(dialect).encode(&call, &target(dialect, "gpt-image-1")).unwrap();
            let decoded = whole(exchange, text);
            assert_eq!(
                (decoded.error, decoded.text.as_str(), decoded.complete),
                (None, text, true),
                "{}",
                recording["id"]
            );
            let usage = decoded.usage.unwrap();
            assert_eq!(usage.images, given["data"].as_array().unwrap().len() as u64, "{}", recording["id"]);
            if dialect == Dialect::OpenAi {
                assert_eq!(usage.output_tokens, given["usage"]["output_tokens"].as_u64().unwrap_or(0));
                let text =
                    given.pointer("/usage/output_tokens_details/text_tokens").and_then(Value::as_u64).unwrap_or(0);
                assert_eq!(usage.image_output_tokens, usage.output_tokens - text);
            }
        }
    }
}
