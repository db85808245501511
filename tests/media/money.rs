//! What pictures and voices hold before the call and cost after it, through the whole stack.

use std::sync::Arc;
use std::time::Duration;

use kancy::{Measure, Outcome};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{Answer, Asked, Reply, World, form, wav, world};

fn spend(dollars: &str) -> String {
    format!("[[limits]]\nscope = \"workspace:acme\"\nmeasure = \"spend\"\namount = \"{dollars}\"\nper = \"total\"\n")
}

/// A request of one of the media routes.
#[derive(Clone, Debug)]
enum Ask {
    Images(Value),
    Speech(Value),
    Transcript(&'static str, &'static str, Vec<u8>),
}

impl Ask {
    async fn send(&self, world: &World) -> Reply {
        match self {
            Self::Images(body) => world.images(body).await,
            Self::Speech(body) => world.post("/v1/audio/speech", body).await,
            Self::Transcript(model, format, file) => {
                let fields: [(&str, &[u8]); 3] =
                    [("model", model.as_bytes()), ("response_format", format.as_bytes()), ("file=a.wav", file)];
                let body = http_body_util::Full::from(form(&fields));
                world.send("/v1/audio/transcriptions", "multipart/form-data; boundary=b0", body).await
            }
        }
    }
}

fn images(change: Value) -> Ask {
    let mut body = json!({"model": "dall-e-3", "prompt": "a cat"});
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    Ask::Images(body)
}

fn speech(model: &str, input: &str) -> Ask {
    Ask::Speech(json!({"model": model, "input": input, "voice": "alloy"}))
}

const DALL_E: &str = r#"{"created":1,"data":[{"url":"https://a.test/1"}]}"#;
const GPT_IMAGE: &str = r#"{"created":1,"data":[{"b64_json":"aGk="}],"size":"1024x1024","quality":"low","usage":{
    "input_tokens":50,"output_tokens":300,"total_tokens":350,"input_tokens_details":{"text_tokens":10,"image_tokens":40},
    "output_tokens_details":{"image_tokens":200,"text_tokens":100}}}"#;
const TOKENS: &str = r#"{"text":"Hello","usage":{"type":"tokens","input_tokens":20,"output_tokens":3,"total_tokens":23,
    "input_token_details":{"text_tokens":5,"audio_tokens":15}}}"#;

/// An upload that does not tell how long it is: AAC in no container, taken for the longest that so many bytes can be.
fn untold(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| 0x80 | (at % 7) as u8).collect()
}

#[tokio::test(start_paused = true)]
async fn each_unit_is_held_at_its_worst_and_booked_as_it_was() {
    let micro = 1_000;
    let sound = || Answer::of_type("audio/mpeg", "ID3");
    let text = || Answer::of_type("text/plain", "Hello\n");
    let bytes = GPT_IMAGE.as_bytes();
    let gemini =
        json!({"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}]}}]});
    for (ask, answer, held, cost) in [
        // By the picture: its tier where the request settles it, the dearest that it may become where it does not.
        (images(json!({"size": "1024x1792", "quality": "hd"})), Answer::json(200, DALL_E), 120_000, 120_000),
        (images(json!({"size": "1024x1792", "quality": "standard"})), Answer::json(200, DALL_E), 40_000, 40_000),
        (images(json!({"size": "1024x1024", "quality": "hd"})), Answer::json(200, DALL_E), 120_000, 80_000),
        (images(json!({"size": "1000x1700", "quality": "hd"})), Answer::json(200, DALL_E), 120_000, 120_000),
        (images(json!({})), Answer::json(200, DALL_E), 120_000, 40_000),
        (images(json!({"size": "auto", "quality": "auto"})), Answer::json(200, DALL_E), 120_000, 40_000),
        (images(json!({"model": "google-image"})), Answer::json(200, &gemini), 39_000, 39_000),
        (images(json!({"model": "bytedance-image"})), Answer::json(200, DALL_E), 40_000, 40_000),
        (
            images(json!({"model": "minimax-image", "n": 3})),
            Answer::json(200, json!({"data": {"image_urls": ["a", "b"]}})),
            10_500,
            7_000,
        ),
        // By the token: text 5, pictures in 8 and out 30, for a million.
        (
            images(json!({"model": "openai-image"})),
            Answer::json(200, bytes.escape_ascii().to_string().replace("\\n", "").replace("\\", "")),
            0,
            10 * 5 + 40 * 8 + 300 * 30,
        ),
        // By the character, and by what the vendor says it counted.
        (speech("openai-tts", "Grüße"), sound(), 5 * 15, 5 * 15),
        (
            speech("minimax-tts", "你好"),
            Answer::json(200, json!({"data": {"audio": "494433"}, "extra_info": {"usage_characters": 4}})),
            400,
            400,
        ),
        // By the second: the answer's, else the file's own, else the longest that so many bytes can hold.
        (
            Ask::Transcript("whisper-asr", "json", wav(3)),
            Answer::json(200, r#"{"text":"","usage":{"type":"duration","seconds":2}}"#),
            300,
            200,
        ),
        (
            Ask::Transcript("whisper-asr", "verbose_json", wav(3)),
            Answer::json(200, r#"{"text":"","duration":1.2}"#),
            300,
            200,
        ),
        (Ask::Transcript("whisper-asr", "json", wav(3)), Answer::json(200, r#"{"text":"Hello"}"#), 300, 300),
        (Ask::Transcript("whisper-asr", "srt", wav(3)), text(), 300, 300),
        (Ask::Transcript("whisper-asr", "srt", untold(5_000)), text(), 1_000, 1_000),
        // By the token: 15 of sound at 6 and 5 of text at 2.50 in, 3 at 10 out.
        (Ask::Transcript("gpt-4o-transcribe", "json", wav(1)), Answer::json(200, TOKENS), 0, 15 * 6 + 13 + 3 * 10),
    ] {
        let answer = answer.after(5);
        let world = world(&spend("1000"), move |_| answer.clone()).await;
        let mut asking = Box::pin(ask.send(&world));
        assert!(tokio::time::timeout(Duration::from_secs(1), &mut asking).await.is_err());
        let (_, holding) = world.counted().await;
        let reply = asking.await;
        assert_eq!(reply.status, 200, "{ask:?}: {:?}", reply.bytes);
        let record = world.records().await.pop().unwrap();
        let cost_micros = record.cost.as_nanos().div_ceil(micro);
        assert_eq!((cost_micros, record.outcome), (cost, Some(Outcome::Completed)), "{ask:?}: {record:?}");
        assert_eq!(world.counted().await, (record.cost.as_nanos(), 0), "{ask:?}");
        match held {
            0 => assert!(holding >= record.cost.as_nanos(), "{ask:?}"),
            held => assert_eq!(holding, held * micro, "{ask:?}"),
        }
    }
}

/// What a vendor says to whatever it is asked: at times less than was ordered, at times a failure.
fn vendor(asked: &Asked) -> Answer {
    let after = (asked.nth as u64 * 7) % 5 + 1;
    let text = String::from_utf8_lossy(&asked.bytes);
    let answer = match (asked.path.as_str(), asked.nth % 6) {
        (_, 5) => Answer::json(429, r#"{"error":{"message":"busy","type":"requests","code":"rate_limit_exceeded"}}"#),
        ("/v1/image_generation", _) => {
            let made = vec![
                "https://a.test/1";
                (asked.json()["n"].as_u64().unwrap() - (asked.nth as u64 % 2)).max(1) as usize
            ];
            Answer::json(200, json!({"data": {"image_urls": made}, "base_resp": {"status_code": 0}}))
        }
        ("/v1/images/generations", _) if text.contains("gpt-image") => Answer::json(200, GPT_IMAGE.replace('\n', "")),
        ("/v1/images/generations" | "/api/v3/images/generations", _) => Answer::json(200, DALL_E),
        ("/v1/audio/speech", _) => Answer::of_type("audio/mpeg", "ID3"),
        ("/v1/audio/transcriptions", 0) => {
            Answer::json(200, r#"{"text":"Hello","usage":{"type":"duration","seconds":1}}"#)
        }
        ("/v1/audio/transcriptions", _) => Answer::json(200, r#"{"text":"Hello"}"#),
        (path, _) => panic!("no such route: {path}"),
    };
    answer.after(after)
}

fn asks() -> impl Strategy<Value = Ask> {
    let quality = prop_oneof![Just(None), Just(Some("hd")), Just(Some("standard"))];
    let size = prop_oneof![Just(None), Just(Some("1024x1792")), Just(Some("1024x1024")), Just(Some("640x1100"))];
    prop_oneof![
        (quality, size).prop_map(|(quality, size)| images(json!({"quality": quality, "size": size}))),
        (1u64..=9).prop_map(|n| images(json!({"model": "minimax-image", "n": n}))),
        (1u64..=6).prop_map(|n| images(json!({"model": "bytedance-image", "n": n}))),
        Just(images(json!({"model": "openai-image"}))),
        "[a-zß你]{1,400}".prop_map(|text| speech("openai-tts", &text)),
        (1u32..20).prop_map(|seconds| Ask::Transcript("whisper-asr", "json", wav(seconds))),
        (500usize..20_000).prop_map(|bytes| Ask::Transcript("whisper-asr", "json", untold(bytes))),
    ]
}

/// Sends all of them at once, some of whom leave early; tells the most that was posted and held at any time.
async fn race(world: Arc<World>, asks: Vec<Ask>, cap: u64) {
    let mut callers = tokio::task::JoinSet::new();
    for (nth, ask) in asks.into_iter().enumerate() {
        let world = Arc::clone(&world);
        callers.spawn(async move {
            let patience = Duration::from_secs(if nth % 7 == 3 { 2 } else { 60 });
            let _ = tokio::time::timeout(patience, ask.send(&world)).await;
        });
    }
    while !callers.is_empty() {
        let _ = tokio::time::timeout(Duration::from_millis(100), callers.join_next()).await;
        let (posted, held) = world.counted().await;
        assert!(posted + held <= cap, "{posted} posted and {held} held are more than {cap}");
    }
    let (posted, held) = world.counted().await;
    let records = world.records().await;
    let cost: u64 = records.iter().map(|record| record.cost.as_nanos()).sum();
    assert_eq!((posted, held), (cost, 0), "the counters and the ledger tell the same");
    assert!(records.iter().all(|record| record.outcome.is_some()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn sixty_four_callers_at_once_never_break_a_cap(asks in prop::collection::vec(asks(), 64), cents in 5u64..400) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let world = world(&spend(&format!("{}.{:02}", cents / 100, cents % 100)), vendor).await;
            assert_eq!(world.config.limits[0].key.measure, Measure::Spend);
            race(Arc::new(world), asks, cents * 10_000_000).await;
        });
    }

    #[test]
    fn nor_do_they_a_number_of_pictures_or_seconds(asks in prop::collection::vec(asks(), 64), amount in 1u64..60, pictures: bool) {
        let measure = if pictures { "images" } else { "audio_seconds" };
        let limit = format!("[[limits]]\nscope = \"workspace:acme\"\nmeasure = \"{measure}\"\namount = {amount}\nper = \"day\"\n");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let world = Arc::new(world(&limit, vendor).await);
            let mut callers = tokio::task::JoinSet::new();
            for ask in asks {
                let world = Arc::clone(&world);
                callers.spawn(async move { drop(ask.send(&world).await) });
            }
            while !callers.is_empty() {
                let _ = tokio::time::timeout(Duration::from_millis(100), callers.join_next()).await;
                let (posted, held) = world.counted().await;
                assert!(posted + held <= amount, "{posted} posted and {held} held are more than {amount}");
            }
            assert_eq!(world.counted().await.1, 0);
        });
    }
}
