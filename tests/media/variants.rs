//! Answers that lack a member, or have another in its place: an answer or an error, and billed is what was given.

use kancy::Outcome;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{Answer, world};

/// A model, and a sound answer of its vendor.
fn sound() -> Vec<(&'static str, Value)> {
    let picture = "aGVsbG8=";
    vec![
        (
            "google-image",
            json!({"candidates": [
                {"content": {"role": "model", "parts": [{"text": "Here"}, {"thought": true, "inlineData": {"mimeType": "image/png", "data": "ZA=="}},
                    {"inlineData": {"mimeType": "image/webp", "data": picture}, "thoughtSignature": "x"}]}, "finishReason": "STOP", "index": 0},
                {"content": {"parts": [{"inlineData": {"mimeType": "image/jpeg", "data": picture}}]}, "finishReason": 1}],
                "promptFeedback": null, "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 1290, "totalTokenCount": 1295,
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}]}, "modelVersion": "m", "responseId": "r"}),
        ),
        (
            "imagen",
            json!({"predictions": [{"mimeType": "image/png", "bytesBase64Encoded": picture}, {"raiFilteredReason": "why"},
                {"mimeType": "image/jpeg", "bytesBase64Encoded": picture, "prompt": "a cat"}]}),
        ),
        (
            "minimax-image",
            json!({"id": "1", "data": {"image_urls": ["https://a.test/1"], "image_base64": [picture]},
                "metadata": {"success_count": "2", "failed_count": "1"}, "base_resp": {"status_code": 0, "status_msg": "success"}}),
        ),
        (
            "bytedance-image",
            json!({"model": "m", "created": 1, "data": [{"b64_json": picture, "size": "2048x2048"}, {"url": "https://a.test/1"},
                {"error": {"code": "OutputImageSensitiveContentDetected", "message": "no"}}],
                "usage": {"generated_images": 2, "output_tokens": 16384, "total_tokens": 16384}}),
        ),
    ]
}

/// What stands in the place of a member.
fn strange() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        Just(Some(Value::Null)),
        Just(Some(json!(""))),
        Just(Some(json!("text"))),
        Just(Some(json!(0))),
        Just(Some(json!(-1.5))),
        Just(Some(json!(true))),
        Just(Some(json!([]))),
        Just(Some(json!({}))),
        Just(Some(json!([null, {}, "x"]))),
        Just(Some(json!({"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}))),
        Just(Some(json!("x".repeat(5_000)))),
    ]
}

/// Walks down by `steps` and puts `other` in the place where that leads.
fn change(value: &mut Value, steps: &[usize], other: Option<Value>) {
    let Some((step, rest)) = steps.split_first() else { return };
    match value {
        Value::Object(members) if !members.is_empty() => {
            let key = members.keys().nth(step % members.len()).unwrap().clone();
            match other {
                None if rest.is_empty() => drop(members.remove(&key)),
                Some(other) if rest.is_empty() => members[&key] = other,
                other => change(&mut members[&key], rest, other),
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let at = step % items.len();
            match other {
                None if rest.is_empty() => drop(items.remove(at)),
                Some(other) if rest.is_empty() => items[at] = other,
                other => change(&mut items[at], rest, other),
            }
        }
        _ => {}
    }
}

#[test]
fn an_answer_whose_rest_is_none_breaks_off_once_its_first_picture_is_on_its_way() {
    let answer = json!({"predictions": [{"mimeType": "image/png", "bytesBase64Encoded": "x".repeat(5_000)}, null]});
    harmless("imagen", answer.to_string(), true);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_that_a_vendor_leaves_out_or_mistypes_does_harm(
        which in 0usize..4,
        changes in prop::collection::vec((prop::collection::vec(0usize..8, 1..7), strange()), 1..4),
        cut in prop_oneof![9 => Just(None), 1 => (0usize..400).prop_map(Some)],
        inline: bool,
    ) {
        let (model, mut answer) = sound().swap_remove(which);
        changes.into_iter().for_each(|(steps, other)| change(&mut answer, &steps, other));
        let mut text = answer.to_string();
        text.truncate(cut.unwrap_or(usize::MAX));
        harmless(model, text, inline);
    }
}

fn harmless(model: &str, text: String, inline: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let answer = Answer::json(200, &text);
        let world = world("", move |_| answer.clone()).await;
        let form = if inline { "b64_json" } else { "url" };
        let reply = world.images(&json!({"model": model, "prompt": "a", "response_format": form})).await;
        let record = world.records().await.pop().unwrap();
        if reply.broke_off {
            // Its first picture, which is booked, was on its way when the rest turned out to be no answer.
            assert!(text.len() > 4_000, "{text}");
            assert_eq!((record.outcome, record.usage.images), (Some(Outcome::ProviderFailed), 1), "{text}");
            return;
        }
        let value: Value = serde_json::from_slice(&reply.bytes).unwrap();
        if reply.status != 200 {
            assert!(matches!(reply.status, 400 | 429 | 500), "{text}");
            assert_eq!(value["error"]["origin"], "provider", "{text}: {value}");
            assert_eq!((record.outcome, record.usage.images), (Some(Outcome::ProviderFailed), 0), "{text}");
            return;
        }
        let data = value["data"].as_array().unwrap();
        assert!(!data.is_empty(), "{text}");
        assert!(data.iter().all(|made| made["url"].is_string() || made["b64_json"].is_string()), "{text}: {value}");
        let booked = (record.outcome, record.usage.images, record.estimated);
        assert_eq!(booked, (Some(Outcome::Completed), data.len() as u64, false), "{text}");
    });
}
