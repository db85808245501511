//! Pictures, as the route drives the codec.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};

use crate::base::error::{Code, Error};
use crate::base::secret::Secret;
use crate::domain::endpoint::Endpoint;
use crate::domain::modality::Modality;
use crate::domain::model::ModelTerms;
use crate::http::body::Segments;
use crate::http::call::Call;
use crate::provider::minimax::MiniMax;
use crate::provider::traits::{Credential, Exchange, Provider, Target};
use crate::provider::traits::{Output, Timeouts};
use crate::wire::peek::peek;

fn target(upstream: &str) -> Target {
    Target {
        provider: "minimax".into(),
        codec: Arc::new(MiniMax),
        base_url: "https://api.minimax.io".parse().unwrap(),
        credential: Arc::new(Credential::ApiKey(Secret::new("upstream-secret"))),
        upstream: upstream.into(),
        terms: Arc::new(ModelTerms::new("minimax-image", Modality::Image)),
        timeouts: Timeouts::default(),
        content_hosts: Arc::new([]),
    }
}

fn call(endpoint: Endpoint, body: &Value) -> Call {
    let pieces = vec![Bytes::from(body.to_string())];
    Call::new(endpoint, peek(&pieces).unwrap(), Segments::new(pieces), None)
}

fn encode(body: &Value) -> Result<Exchange, Error> {
    MiniMax.encode(&call(Endpoint::ImageGenerations, body), &target("image-01"))
}

fn sent(body: &Value) -> Value {
    let request = encode(body).unwrap().request.unwrap();
    assert_eq!(request.uri(), "https://api.minimax.io/v1/image_generation");
    assert!(request.headers()[AUTHORIZATION].is_sensitive());
    serde_json::from_slice(&request.into_body().into_bytes()).unwrap()
}

fn answer(request: &Value, body: &str) -> (Result<Value, Error>, Output) {
    let mut decoder = encode(request).unwrap().decoder;
    let mut out = Output::default();
    decoder.head(&Response::new(()).into_parts().0).unwrap();
    for byte in body.as_bytes().chunks(1) {
        decoder.push(Bytes::copy_from_slice(byte), &mut out).unwrap();
    }
    if let Err(error) = decoder.finish(&mut out) {
        return (Err(error), out);
    }
    let mut bytes = Vec::new();
    while let Some(frame) = out.next_frame() {
        bytes.extend_from_slice(&frame);
    }
    (Ok(serde_json::from_slice(&bytes).unwrap()), out)
}

#[test]
fn the_products_example_is_taken_exactly_and_without_a_watermark() {
    let sent = sent(&json!({"model": "minimax-image", "prompt": "a dashboard", "size": "1536x1024"}));
    assert_eq!(
        sent,
        json!({"model": "image-01", "prompt": "a dashboard", "n": 1, "response_format": "url", "prompt_optimizer": false,
            "aigc_watermark": false, "width": 1536, "height": 1024})
    );
}

#[test]
fn options_are_mapped_and_only_one_of_size_and_ratio_is_sent() {
    for (size, shape) in [
        ("auto", json!({"aspect_ratio": "1:1"})),
        ("1792x1024", json!({"width": 1792, "height": 1024})),
        ("256x256", json!({"aspect_ratio": "1:1"})),
        ("4000x1700", json!({"aspect_ratio": "21:9"})),
        ("1001x1000", json!({"aspect_ratio": "1:1"})),
    ] {
        let sent = sent(
            &json!({"prompt": "a", "size": size, "seed": 7, "watermark": true, "n": 9, "response_format": "b64_json",
            "image": "https://a/b.png"}),
        );
        let kept =
            ["aspect_ratio", "width", "height"].iter().filter_map(|k| Some((k.to_string(), sent.get(k)?.clone())));
        assert_eq!(Value::Object(kept.collect()), shape, "{size}");
        assert_eq!(
            (&sent["seed"], &sent["aigc_watermark"], &sent["response_format"]),
            (&json!(7), &json!(true), &json!("base64"))
        );
        assert_eq!(sent["subject_reference"], json!([{"type": "character", "image_file": "https://a/b.png"}]));
    }
}

#[test]
fn what_the_vendor_would_refuse_is_refused_with_the_number() {
    for (body, param, said) in [
        (json!({"prompt": "a", "n": 10}), "n", "at most 9"),
        (json!({"prompt": "a".repeat(1501)}), "prompt", "at most 1500"),
        (json!({"prompt": "a", "image": ["https://a", "https://b"]}), "image", "at most 1"),
        (json!({"prompt": "a", "mask": "https://a"}), "mask", "by the prompt alone"),
        (json!({"prompt": "a", "stream": true}), "stream", "one answer"),
    ] {
        let error = encode(&body).unwrap_err();
        assert_eq!((error.code().status().as_u16(), error.param_name()), (400, Some(param)));
        assert!(error.message().contains(said), "{error}");
    }
    let edit = MiniMax.encode(&call(Endpoint::ImageEdits, &json!({"prompt": "a"})), &target("image-01")).unwrap_err();
    assert_eq!(edit.code(), Code::UnsupportedParameter);
}

#[test]
fn answers_are_in_openais_shape_and_bill_what_was_made() {
    let request = json!({"prompt": "a", "n": 3, "quality": "high", "user": "u"});
    let body = r#"{"id":"1","data":{"image_urls":["https://x/1","https:\/\/x/2"],"image_base64":null},
        "metadata":{"success_count":"2","failed_count":"1"},"base_resp":{"status_code":0,"status_msg":"success"}}"#;
    let (value, out) = answer(&request, body);
    let value = value.unwrap();
    assert_eq!(value["data"], json!([{"url": "https://x/1"}, {"url": "https://x/2"}]));
    assert_eq!(value["warnings"].as_array().unwrap().len(), 2, "quality and the missing picture: {value}");
    assert_eq!(value["size"], "1024x1024");
    assert_eq!((out.usage().unwrap().images, out.is_complete()), (2, true));
    assert_eq!(encode(&request).unwrap().dropped, ["quality", "user"]);

    let request = json!({"prompt": "a", "response_format": "b64_json"});
    let (value, _) =
        answer(&request, r#"{"data":{"image_base64":["aGk="],"failed_count":0},"base_resp":{"status_code":0}}"#);
    assert_eq!(value.unwrap()["data"], json!([{"b64_json": "aGk="}]));
}

#[test]
fn a_failure_inside_a_success_is_a_failure() {
    for (body, code) in [
        (
            r#"{"base_resp":{"status_code":1028,"status_msg":"Daily quota exhausted for image-01"}}"#,
            Code::ProviderQuotaExhausted,
        ),
        (
            r#"{"id":"","data":{},"base_resp":{"status_code":1026,"status_msg":"sensitive"}}"#,
            Code::ContentPolicyViolation,
        ),
        (
            r#"{"data":{"image_urls":[],"success_count":0,"failed_count":1},"base_resp":{"status_code":0}}"#,
            Code::ContentPolicyViolation,
        ),
        (r#"{"data":{"image_urls":[]},"base_resp":{"status_code":0}}"#, Code::ProviderError),
        ("<html>502</html>", Code::ProviderError),
        ("", Code::ProviderError),
    ] {
        let (result, out) = answer(&json!({"prompt": "a"}), body);
        assert_eq!(result.unwrap_err().code(), code, "{body}");
        assert!(!out.is_complete());
    }
}
