//! The image routes, and Google's recorded answers where they lie beside the project.

use std::path::Path;
use std::sync::Arc;

use http::{Request, Response};
use serde_json::{Value, json};

use super::*;
use crate::base::error::Code;
use crate::base::secret::Secret;
use crate::domain::endpoint::Endpoint;
use crate::domain::modality::Modality;
use crate::domain::model::ModelTerms;
use crate::domain::usage::Usage;
use crate::http::body::{CallBody, Segments};
use crate::provider::gemini::Gemini;
use crate::provider::traits::{Credential, Output, Provider, Timeouts};
use crate::wire::{multipart, peek};

fn target(upstream: &str) -> Target {
    Target {
        provider: "gemini".into(),
        codec: Arc::new(Gemini),
        base_url: "https://generativelanguage.googleapis.com".parse().unwrap(),
        credential: Arc::new(Credential::ApiKey(Secret::new("upstream-secret"))),
        upstream: upstream.into(),
        terms: Arc::new(ModelTerms::new("google-image", Modality::Image)),
        timeouts: Timeouts::default(),
        content_hosts: Arc::new([]),
    }
}

fn call(endpoint: Endpoint, body: &Value) -> Call {
    let pieces = vec![Bytes::from(body.to_string())];
    Call::new(endpoint, peek::peek(&pieces).unwrap(), Segments::new(pieces), None)
}

fn make(upstream: &str, body: &Value) -> Result<Exchange, Error> {
    Gemini.encode(&call(Endpoint::ImageGenerations, body), &target(upstream))
}

fn sent(request: Option<Request<CallBody>>) -> (String, Value) {
    let request = request.unwrap();
    (request.uri().path().to_owned(), serde_json::from_slice(&request.into_body().into_bytes()).unwrap())
}

fn answer(exchange: Exchange, body: &[u8]) -> (Result<Value, Error>, Output) {
    let (mut decoder, mut out) = (exchange.decoder, Output::default());
    decoder.head(&Response::new(()).into_parts().0).unwrap();
    for piece in body.chunks(1_000) {
        decoder.push(Bytes::copy_from_slice(piece), &mut out).unwrap();
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
fn the_products_example_is_three_by_two_on_every_model() {
    let example = json!({"model": "google-image", "prompt": "a dashboard", "size": "1536x1024"});
    for (upstream, config) in [
        ("gemini-2.5-flash-image", json!({"aspectRatio": "3:2"})),
        ("models/gemini-3.1-flash-image", json!({"aspectRatio": "3:2", "imageSize": "1K"})),
        ("gemini-3-pro-image", json!({"aspectRatio": "3:2", "imageSize": "1K"})),
    ] {
        let exchange = make(upstream, &example).unwrap();
        let (path, body) = sent(exchange.request);
        assert_eq!(path, format!("/v1beta/models/{}:generateContent", upstream.trim_start_matches("models/")));
        assert_eq!(
            body,
            json!({"contents": [{"role": "user", "parts": [{"text": "a dashboard"}]}],
                "generationConfig": {"responseModalities": ["TEXT", "IMAGE"], "imageConfig": config}})
        );
    }
    let (path, body) = sent(make("imagen-4.0-generate-001", &example).unwrap().request);
    assert_eq!(path, "/v1beta/models/imagen-4.0-generate-001:predict");
    assert_eq!(
        body,
        json!({"instances": [{"prompt": "a dashboard"}],
            "parameters": {"sampleCount": 1, "aspectRatio": "4:3", "includeRaiReason": true}})
    );
}

#[test]
fn sizes_become_the_nearest_shape_and_level() {
    for (upstream, size, ratio, level) in [
        ("gemini-3.1-flash-image", "1024x1024", "1:1", json!("1K")),
        ("gemini-3.1-flash-image", "1792x1024", "16:9", json!("1K")),
        ("gemini-3.1-flash-image", "256x256", "1:1", json!("512")),
        ("gemini-3.1-flash-image", "4096x4096", "1:1", json!("4K")),
        ("gemini-3.1-flash-image", "400x3200", "1:8", json!("1K")),
        ("gemini-3-pro-image", "256x256", "1:1", json!("1K")),
        ("gemini-3-pro-image", "400x3200", "9:16", json!("1K")),
        ("gemini-2.5-flash-image", "4096x4096", "1:1", Value::Null),
    ] {
        let (_, body) = sent(make(upstream, &json!({"prompt": "a", "size": size})).unwrap().request);
        let config = &body["generationConfig"]["imageConfig"];
        assert_eq!((&config["aspectRatio"], &config["imageSize"]), (&json!(ratio), &level), "{upstream} {size}");
    }
    let (_, body) =
        sent(make("gemini-2.5-flash-image", &json!({"prompt": "a", "size": "auto", "seed": 5})).unwrap().request);
    assert_eq!(body["generationConfig"], json!({"responseModalities": ["TEXT", "IMAGE"], "seed": 5}));
}

#[test]
fn pictures_of_an_edit_go_before_the_prompt() {
    let form = "--b\r\nContent-Disposition: form-data; name=\"image[]\"; filename=\"a.png\"\r\n\r\n\u{7f}PNG\r\n\
        --b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\nmore sky\r\n--b--\r\n";
    // A file that names no type and begins like none is no picture.
    let typed = form.replace("a.png\"\r\n", "a.png\"\r\nContent-Type: image/webp\r\n");
    let edit = |form: &str, upstream| {
        let pieces = vec![Bytes::from(form.to_owned())];
        let facts = multipart::read(&pieces, "multipart/form-data; boundary=b").unwrap();
        Gemini.encode(&Call::new(Endpoint::ImageEdits, facts, Segments::new(pieces), None), &target(upstream))
    };
    assert_eq!(edit(form, "gemini-2.5-flash-image").unwrap_err().param_name(), Some("image[]"));
    let (_, body) = sent(edit(&typed, "gemini-2.5-flash-image").unwrap().request);
    assert_eq!(
        body["contents"][0]["parts"],
        json!([{"inlineData": {"mimeType": "image/webp", "data": "f1BORw=="}}, {"text": "more sky"}])
    );
    assert_eq!(edit(&typed, "imagen-4").unwrap_err().code(), Code::UnsupportedParameter);
    let none = Gemini.encode(&call(Endpoint::ImageEdits, &json!({"prompt": "a"})), &target("gemini-2.5-flash-image"));
    assert_eq!(none.unwrap_err().code(), Code::MissingParameter);
    let url = json!({"prompt": "a", "image": "https://a/b.jpg"});
    let (_, body) = sent(make("gemini-2.5-flash-image", &url).unwrap().request);
    assert_eq!(
        body["contents"][0]["parts"][0],
        json!({"fileData": {"mimeType": "image/jpeg", "fileUri": "https://a/b.jpg"}})
    );
}

#[test]
fn what_google_does_not_have_is_refused_or_told() {
    for (upstream, body, said) in [
        ("gemini-2.5-flash-image", json!({"prompt": "a", "n": 11}), "at most 10"),
        ("imagen-4.0", json!({"prompt": "a", "n": 5}), "at most 4"),
        ("imagen-4.0", json!({"prompt": "a", "image": "https://a"}), "no reference pictures"),
        ("gemini-2.5-flash-image", json!({"prompt": "a", "mask": "https://a"}), "by the prompt alone"),
        ("gemini-2.5-flash-image", json!({"prompt": "a", "stream": true}), "one answer"),
    ] {
        let error = make(upstream, &body).unwrap_err();
        assert!(error.code().status() == 400 && error.message().contains(said), "{error}");
    }
    let soft = json!({"prompt": "a", "quality": "high", "negative_prompt": "b", "output_format": "png", "watermark": false, "n": 1, "lora": "x", "steps": null});
    assert_eq!(
        make("gemini-2.5-flash-image", &soft).unwrap().dropped,
        ["quality", "output_format", "negative_prompt", "lora"]
    );
    let exchange = make("imagen-4.0", &soft).unwrap();
    assert_eq!(exchange.dropped, ["quality", "negative_prompt", "lora"]);
    assert_eq!(sent(exchange.request).1["parameters"]["outputOptions"]["mimeType"], "image/png");
}

#[test]
fn every_way_of_making_no_picture_has_its_code() {
    let ends = |reason: &str| {
        format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"no"}}]}},"finishReason":"{reason}"}}]}}"#)
    };
    let mut cases: Vec<_> = [
        "SAFETY",
        "IMAGE_SAFETY",
        "PROHIBITED_CONTENT",
        "IMAGE_PROHIBITED_CONTENT",
        "RECITATION",
        "IMAGE_RECITATION",
        "BLOCKLIST",
        "SPII",
    ]
    .map(|reason| (ends(reason), Code::ContentPolicyViolation))
    .into();
    cases.extend(
        ["STOP", "IMAGE_OTHER", "NO_IMAGE", "MAX_TOKENS", "OTHER"].map(|reason| (ends(reason), Code::ProviderError)),
    );
    cases.extend([
        (r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#.to_owned(), Code::ContentPolicyViolation),
        (r#"{"error":{"code":503,"status":"UNAVAILABLE","message":"m"}}"#.to_owned(), Code::ProviderOverloaded),
        ("{}".to_owned(), Code::ProviderError),
        ("<html>".to_owned(), Code::ProviderError),
        (
            r#"{"candidates":[{"content":{"parts":[{"thought":true,"inlineData":{"mimeType":"image/png","data":"aGk="}}]},"finishReason":"NO_IMAGE"}]}"#
                .to_owned(),
            Code::ProviderError,
        ),
    ]);
    for (body, code) in cases {
        let (result, _) = answer(make("gemini-2.5-flash-image", &json!({"prompt": "a"})).unwrap(), body.as_bytes());
        assert_eq!(result.unwrap_err().code(), code, "{body}");
    }
    for body in ["{}", r#"{"predictions":[]}"#, r#"{"predictions":[{"raiFilteredReason":"why"}]}"#] {
        let (result, _) = answer(make("imagen-4.0", &json!({"prompt": "a"})).unwrap(), body.as_bytes());
        assert_eq!(result.unwrap_err().code(), Code::ContentPolicyViolation, "{body}");
    }
}

#[test]
fn imagen_gives_and_bills_what_was_not_filtered_out() {
    let body = br#"{"predictions":[{"mimeType":"image/png","bytesBase64Encoded":"aGk="},{"raiFilteredReason":"why"}]}"#;
    let (value, out) =
        answer(make("imagen-4.0", &json!({"prompt": "a", "n": 2, "response_format": "url"})).unwrap(), body);
    let value = value.unwrap();
    assert_eq!(value["data"], json!([{"url": "data:image/png;base64,aGk="}]));
    assert_eq!(value["warnings"].as_array().unwrap().len(), 1);
    assert_eq!(out.usage().unwrap(), Usage { images: 1, ..Usage::NONE });
}

fn recordings(vendor: &str) -> Vec<Value> {
    let beside = ["../shared", "../../shared"].map(|shared| Path::new(env!("CARGO_MANIFEST_DIR")).join(shared));
    let folders = beside.iter().map(|shared| shared.join("conformance/recordings").join(vendor));
    let files = folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let all = files.map(|file| serde_json::from_slice::<Value>(&std::fs::read(file.path()).unwrap()).unwrap());
    all.filter(|recording| recording["kind"] == "images" && recording["stream"] == false).collect()
}

#[test]
fn recorded_pictures_come_out_as_they_were() {
    for (vendor, upstream) in [("gemini", "gemini-2.5-flash-image"), ("vertex", "imagen-4.0")] {
        for recording in recordings(vendor) {
            let text = recording["response"]["body"]["text"].as_str().unwrap();
            let given: Value = serde_json::from_str(text).unwrap();
            let parts = given["candidates"].as_array().into_iter().flatten();
            let parts = parts.flat_map(|c| c["content"]["parts"].as_array().into_iter().flatten());
            let drawn = parts.filter(|part| part["thought"] != true).map(|part| &part["inlineData"]["data"]);
            let predicted = given["predictions"].as_array().into_iter().flatten().map(|p| &p["bytesBase64Encoded"]);
            let want: Vec<_> = drawn.chain(predicted).filter(|data| data.is_string()).collect();
            let (value, out) = answer(make(upstream, &json!({"prompt": "a"})).unwrap(), text.as_bytes());
            if want.is_empty() {
                let stored = text.contains("gcsUri");
                let code = if stored { Code::ProviderError } else { Code::ContentPolicyViolation };
                assert_eq!(value.unwrap_err().code(), code, "{}", recording["id"]);
                continue;
            }
            let value = value.unwrap();
            let got: Vec<_> = value["data"].as_array().unwrap().iter().map(|picture| &picture["b64_json"]).collect();
            assert_eq!(got, want, "{}", recording["id"]);
            assert_eq!(out.usage().unwrap().images, want.len() as u64);
            if let Some(total) = given["usageMetadata"]["totalTokenCount"].as_u64() {
                let tools = given["usageMetadata"]["toolUsePromptTokenCount"].as_u64().unwrap_or(0);
                assert!(
                    [total, total + tools].contains(&value["usage"]["total_tokens"].as_u64().unwrap()),
                    "{}",
                    recording["id"]
                );
            }
        }
    }
}

#[test]
fn a_picture_goes_on_while_it_comes_unless_the_model_thinks_in_pictures() {
    let (draft, picture) = ("ZHJhZnQ/".repeat(500), "cGljdHVy".repeat(500));
    for (upstream, goes_on) in [("gemini-2.5-flash-image", true), ("gemini-3-pro-image", false)] {
        let exchange = make(upstream, &json!({"model": "google-image", "prompt": "a"})).unwrap();
        let (mut decoder, mut out) = (exchange.decoder, Output::default());
        let begun = format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"inlineData":{{"mimeType":"image/png","data":"{picture}"#
        );
        decoder.push(begun.into(), &mut out).unwrap();
        assert_eq!(out.has_frames(), goes_on, "{upstream}");
    }
    let part = |data, more| format!(r#"{{"inlineData":{{"mimeType":"image/png","data":"{data}"}}{more}}}"#);
    let parts = [part(&draft, ",\"thought\":true"), part(&picture, "")].join(",");
    let exchange = make("gemini-3-pro-image", &json!({"model": "google-image", "prompt": "a"})).unwrap();
    let (value, _) = answer(exchange, format!(r#"{{"candidates":[{{"content":{{"parts":[{parts}]}}}}]}}"#).as_bytes());
    assert_eq!(value.unwrap()["data"], json!([{"b64_json": picture}]));
}
