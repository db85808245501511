//! Several pictures of a vendor that makes one a call: side by side, one answer, one record, one hold.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use kancy::Outcome;
use serde_json::{Value, json};

use crate::world::{Answer, Asked, World, world};

/// A model, and what makes the vendor's answer with a picture of a text.
type Vendor = (&'static str, fn(&str) -> Value);

/// A vendor of each kind that makes one picture a call.
const VENDORS: [Vendor; 2] = [
    ("google-image", |text| {
        json!({"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": text}}]},
            "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 1290}})
    }),
    (
        "bytedance-image",
        |text| json!({"created": 1, "data": [{"b64_json": text, "size": "2048x2048"}], "usage": {"generated_images": 1}}),
    ),
];

const REFUSED: &str =
    r#"{"error":{"code":"OutputImageSensitiveContentDetected","message":"no","param":"","type":"BadRequest"}}"#;
const BUSY: &str =
    r#"{"error":{"code":"ModelAccountIpmRateLimitExceeded","message":"busy","param":"","type":"TooManyRequests"}}"#;

fn pictures(model: &str, n: u64) -> Value {
    json!({"model": model, "prompt": "a cat", "n": n, "response_format": "b64_json"})
}

fn texts(answer: &Value) -> Vec<&str> {
    answer["data"].as_array().unwrap().iter().map(|made| made["b64_json"].as_str().unwrap()).collect()
}

const SPEND: &str = "[[limits]]\nscope = \"workspace:acme\"\nmeasure = \"images\"\namount = 1000\nper = \"total\"\n";

#[tokio::test(start_paused = true)]
async fn they_are_asked_for_at_once_a_few_at_a_time_and_come_in_order() {
    for (model, made) in VENDORS {
        // The later ones are the quicker ones.
        let vendor =
            move |asked: &Asked| Answer::json(200, made(&format!("P{}", asked.nth))).after(20 - asked.nth as u64);
        let world = world(SPEND, vendor).await;
        let begun = tokio::time::Instant::now();
        let reply = world.images(&pictures(model, 10)).await;
        assert_eq!(reply.status, 200, "{:?}", reply.bytes);
        assert_eq!(texts(&reply.json()), ["P0", "P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9"], "{model}");
        assert_eq!((world.visits.count(), world.visits.most_at_once.load(SeqCst)), (10, 5));
        assert!(begun.elapsed() < Duration::from_secs(45), "{model}: {:?}", begun.elapsed());
        let [record] = &world.records().await[..] else { panic!("{model}: one record was expected") };
        assert_eq!((record.usage.images, record.outcome, record.estimated), (10, Some(Outcome::Completed), false));
        assert_eq!(world.counted().await, (10, 0));
        let bodies: Vec<_> = world.visits.asked.lock().unwrap().iter().map(|asked| asked.bytes.clone()).collect();
        assert!(bodies.iter().all(|body| *body == bodies[0]), "each call is for one picture of the same");
        assert!(!String::from_utf8_lossy(&bodies[0]).contains("\"n\""));
    }
}

#[tokio::test(start_paused = true)]
async fn one_hold_stands_for_all_of_them() {
    let world = world(&SPEND.replace("1000", "3"), |_| Answer::json(200, VENDORS[1].1("P"))).await;
    let refused = world.images(&pictures("bytedance-image", 4)).await;
    assert_eq!((refused.status, world.visits.count()), (429, 0), "a part of what was asked for is not made");
    assert_eq!(world.images(&pictures("bytedance-image", 3)).await.status, 200);
    assert_eq!(world.counted().await, (3, 0));
}

#[tokio::test(start_paused = true)]
async fn what_was_made_is_billed_and_what_was_not_is_told() {
    let vendor = |asked: &Asked| match asked.nth {
        1 => Answer::json(400, REFUSED),
        nth => Answer::json(200, VENDORS[1].1(&format!("P{nth}"))).after(1),
    };
    let world = world(SPEND, vendor).await;
    let reply = world.images(&pictures("bytedance-image", 3)).await;
    let answer = reply.json();
    assert_eq!((reply.status, texts(&answer)), (200, vec!["P0", "P2"]));
    let warning = answer["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("Picture 2 was not made."), "{warning}");
    let record = &world.records().await[0];
    assert_eq!((record.usage.images, record.cost.as_nanos()), (2, 80_000_000));
    assert_eq!((record.outcome, record.estimated, world.counted().await), (Some(Outcome::Completed), false, (2, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_is_busy_is_not_asked_for_the_rest() {
    let vendor = |asked: &Asked| match asked.nth {
        0 => Answer::json(429, BUSY).after(1),
        nth => Answer::json(200, VENDORS[1].1(&format!("P{nth}"))).after(2),
    };
    let world = world(SPEND, vendor).await;
    let reply = world.images(&pictures("bytedance-image", 9)).await;
    assert_eq!((world.visits.count(), texts(&reply.json())), (5, vec!["P1", "P2", "P3", "P4"]));
    assert_eq!(reply.json()["warnings"].as_array().unwrap().len(), 5);
    assert_eq!(world.records().await[0].usage.images, 4);
}

#[tokio::test(start_paused = true)]
async fn where_none_is_made_the_first_failure_is_the_answer_and_nothing_is_billed() {
    let vendor = |asked: &Asked| match asked.nth {
        0 => Answer::json(400, REFUSED).after(2),
        _ => Answer::json(429, BUSY),
    };
    let world = world(SPEND, vendor).await;
    let reply = world.images(&pictures("bytedance-image", 2)).await;
    assert_eq!((reply.status, reply.error().0.as_str()), (400, "content_policy_violation"));
    let record = &world.records().await[0];
    assert_eq!((record.outcome, record.usage.images, record.cost.as_nanos()), (Some(Outcome::ProviderFailed), 0, 0));
    assert_eq!(world.counted().await, (0, 0));
}

async fn leave(world: &World, after: u64) {
    let body = pictures("bytedance-image", 3);
    let asking = world.images(&body);
    assert!(tokio::time::timeout(Duration::from_secs(after), asking).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_takes_every_call_along() {
    let vendor = |asked: &Asked| Answer::json(200, VENDORS[1].1("P")).after(10 * (asked.nth as u64 + 1));
    let world = world(SPEND, vendor).await;
    leave(&world, 15).await;
    assert_eq!((world.visits.with_the_vendor(), world.visits.served.load(SeqCst)), (0, 1));
    let [record] = &world.records().await[..] else { panic!("one record was expected") };
    assert_eq!((record.outcome, record.estimated), (Some(Outcome::ClientClosed), true));
    assert_eq!(record.usage.images, 3, "what was ordered may be billed, made or not");
    assert_eq!(world.counted().await, (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_the_calls_that_are_out_and_books_what_they_made() {
    let vendor = |asked: &Asked| match asked.nth {
        2 => Answer::json(400, REFUSED).after(12),
        _ => Answer::json(200, VENDORS[1].1("P")).after(10),
    };
    let drain = format!("{SPEND}[gateway]\non_disconnect = \"drain\"\n");
    let world = world(&drain, vendor).await;
    leave(&world, 5).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let record = &world.records().await[0];
    assert_eq!((record.outcome, record.usage.images, record.estimated), (Some(Outcome::ClientClosed), 2, false));
    assert_eq!(world.counted().await, (2, 0));
}
