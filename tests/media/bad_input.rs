//! What cannot be meant: 400, naming the parameter and what is allowed, before any vendor is asked.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use kancy::Outcome;
use serde_json::{Value, json};

use crate::world::{Answer, Field, Reply, World, form, wav, world};

const FORM: &str = "multipart/form-data; boundary=b0";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
/// The most bytes of an upload.
const BOUND: usize = 26_214_400;

async fn untouched() -> World {
    world("", |_| panic!("the vendor was asked")).await
}

/// The refusal, and what its message must say.
async fn refused(world: &World, reply: Reply, row: &str, code: &str, param: Option<&str>, says: &str) {
    let error = &reply.json()["error"];
    let told = (reply.status, error["code"].as_str(), error["param"].as_str(), error["origin"].as_str());
    assert_eq!(told, (400, Some(code), param, Some("gateway")), "{row}: {error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(says), "{row}: {message:?} does not say {says:?}");
    let record = world.records().await.pop().expect("a refusal is on record");
    assert_eq!((record.outcome, record.status, record.usage), (Some(Outcome::Refused), Some(400), Default::default()));
}

#[tokio::test]
async fn a_picture_that_no_vendor_makes_is_refused_by_name() {
    let world = untouched().await;
    let models = ["openai-image", "dall-e-3", "google-image", "imagen", "minimax-image", "bytedance-image"];
    for model in models {
        for (change, code, param, says) in [
            (json!({"size": "huge"}), "invalid_parameter", "size", "1536x1024"),
            (json!({"size": "0x1024"}), "invalid_parameter", "size", "1536x1024"),
            (json!({"size": "1024"}), "invalid_parameter", "size", "auto"),
            (json!({"size": 1024}), "invalid_parameter", "size", ""),
            (json!({"n": 0}), "invalid_parameter", "n", "from 1"),
            (json!({"n": -1}), "invalid_parameter", "n", "from 1"),
            (json!({"n": 1.5}), "invalid_parameter", "n", "from 1"),
            (json!({"n": "2"}), "invalid_parameter", "n", "from 1"),
            (json!({"n": 1_000}), "invalid_parameter", "n", "at most"),
            (json!({"prompt": ""}), "invalid_parameter", "prompt", "empty"),
            (json!({"prompt": " \n"}), "invalid_parameter", "prompt", "empty"),
            (json!({"prompt": null}), "missing_parameter", "prompt", "prompt"),
            (json!({"prompt": ["a"]}), "invalid_parameter", "prompt", "text"),
            (json!({"response_format": "png"}), "invalid_parameter", "response_format", "b64_json"),
            (json!({"image": "ftp://a"}), "invalid_parameter", "image", "https"),
            (json!({"image": 5}), "invalid_parameter", "image", "URL"),
        ] {
            let mut body = json!({"model": model, "prompt": "a cat"});
            body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            refused(&world, world.images(&body).await, &body.to_string(), code, Some(param), says).await;
        }
    }
}

#[tokio::test]
async fn each_vendors_own_limits_are_told_with_their_number() {
    let world = untouched().await;
    let long = |characters: usize| json!({"prompt": "ü".repeat(characters)});
    for (model, change, param, says) in [
        ("openai-image", long(32_001), "prompt", "at most 32000 characters, and it has 32001"),
        ("openai-image", json!({"n": 11}), "n", "at most 10"),
        ("openai-image", json!({"quality": "ultra"}), "quality", "low, medium, high"),
        ("openai-image", json!({"image": "https://a.test/x.png"}), "image", "/v1/images/edits"),
        ("openai-image", json!({"stream": true, "partial_images": 4}), "partial_images", "0 to 3"),
        ("dall-e-3", long(4_001), "prompt", "at most 4000"),
        ("dall-e-3", json!({"n": 2}), "n", "at most 1"),
        ("dall-e-3", json!({"quality": "medium"}), "quality", "standard, hd"),
        ("dall-e-3", json!({"stream": true}), "stream", "one answer"),
        ("dall-e-2", long(1_001), "prompt", "at most 1000"),
        ("minimax-image", long(1_501), "prompt", "at most 1500"),
        ("minimax-image", json!({"n": 10}), "n", "at most 9"),
        ("minimax-image", json!({"image": ["https://a.test/1", "https://a.test/2"]}), "image", "at most 1"),
        ("minimax-image", json!({"stream": true}), "stream", "one answer"),
        ("google-image", json!({"n": 11}), "n", "at most 10"),
        ("google-image", json!({"stream": true}), "stream", "one answer"),
        ("imagen", json!({"n": 5}), "n", "at most 4"),
        ("imagen", json!({"image": "https://a.test/1"}), "image", "no reference pictures"),
        ("bytedance-image", json!({"n": 11}), "n", "at most 10"),
        ("bytedance-image", json!({"image": vec!["https://a.test/1"; 15]}), "image", "at most 14"),
        ("bytedance-image", json!({"mask": "https://a.test/1"}), "mask", "by the prompt alone"),
    ] {
        let mut body = json!({"model": model, "prompt": "a cat"});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let unsupported =
            says == "one answer" || says.contains("edits") || says.contains("alone") || says.contains("no ref");
        let code = if unsupported { "unsupported_parameter" } else { "invalid_parameter" };
        let row = format!("{model} {param}");
        refused(&world, world.images(&body).await, &row, code, Some(param), says).await;
    }
}

#[tokio::test]
async fn an_edit_without_what_it_works_on_is_refused() {
    let world = untouched().await;
    let edit = |fields: &[Field<'_>]| form(fields);
    for (fields, code, param) in [
        (edit(&[("model", b"google-image"), ("prompt", b"a")]), "missing_parameter", "image"),
        (edit(&[("model", b"bytedance-image"), ("prompt", b"a")]), "missing_parameter", "image"),
        (edit(&[("model", b"openai-image"), ("prompt", b"a")]), "missing_parameter", "image"),
        (
            edit(&[("model", b"google-image"), ("prompt", b"a"), ("prompt", b"b"), ("image=a.png", PNG)]),
            "invalid_parameter",
            "prompt",
        ),
        (edit(&[("model", b"openai-image"), ("image=a.png", PNG)]), "missing_parameter", "prompt"),
        (edit(&[("model", b"openai-image"), ("prompt", b""), ("image=a.png", PNG)]), "invalid_parameter", "prompt"),
        (edit(&[("model", b"openai-image"), ("prompt", b"a"), ("image=a.png", b"")]), "invalid_parameter", "image"),
        (
            edit(&[("model", b"openai-image"), ("prompt", b"a"), ("image=a.txt", b"Dear Sir,")]),
            "invalid_parameter",
            "image",
        ),
        (
            edit(&[("model", b"openai-image"), ("prompt", b"a"), ("n", b"0"), ("image=a.png", PNG)]),
            "invalid_parameter",
            "n",
        ),
        (
            edit(&[("model", b"openai-image"), ("prompt", b"a"), ("size", b"big"), ("image=a.png", PNG)]),
            "invalid_parameter",
            "size",
        ),
        (
            edit(&[("model", b"minimax-image"), ("prompt", b"a"), ("image=a.png", PNG)]),
            "unsupported_parameter",
            "image",
        ),
        (edit(&[("model", b"imagen"), ("prompt", b"a"), ("image=a.png", PNG)]), "unsupported_parameter", "image"),
        (edit(&[("model", b"dall-e-3"), ("prompt", b"a"), ("image=a.png", PNG)]), "unsupported_parameter", "model"),
    ] {
        let row = String::from_utf8_lossy(&fields).into_owned();
        let reply = world.send("/v1/images/edits", FORM, Full::from(fields)).await;
        refused(&world, reply, &row, code, Some(param), "").await;
    }
}

#[tokio::test]
async fn a_form_is_read_wherever_its_model_stands_and_refused_where_it_cannot_be() {
    let file = wav(1);
    let world = world("", |asked| {
        let text = String::from_utf8_lossy(&asked.bytes).into_owned();
        assert!(text.contains("\r\n\r\nwhisper-1\r\n"), "{text}");
        Answer::json(200, json!({"text": "Hello", "usage": {"type": "duration", "seconds": 1}}))
    })
    .await;
    let model: Field<'_> = ("model", b"whisper-asr");
    let recording: Field<'_> = ("file=a.wav", &file);
    for fields in
        [vec![model, recording], vec![recording, model], vec![("prompt", b"x"), recording, ("language", b"en"), model]]
    {
        assert_eq!(world.form("/v1/audio/transcriptions", &fields).await.status, 200);
    }
    let path = "/v1/audio/translations";
    for (fields, code, param, says) in [
        (vec![recording], "missing_parameter", "model", "GET /v1/models"),
        (vec![model, model, recording], "invalid_parameter", "model", "once"),
        (vec![("model", b""), recording], "model_not_found", "model", "GET /v1/models"),
        (vec![("model[]", b"whisper-asr"), recording], "invalid_parameter", "model", "no list"),
        (vec![model], "missing_parameter", "file", "flac, mp3"),
        (vec![model, recording, recording], "invalid_parameter", "file", "one recording"),
        (vec![model, ("file", &file)], "invalid_parameter", "file", "filename"),
        (vec![model, ("file=a.wav", b"")], "invalid_parameter", "file", "empty"),
        (vec![model, ("file=a.mp3", b"Dear Sir or Madam, this is a letter.")], "invalid_parameter", "file", "no audio"),
        (vec![model, ("file=a.mp3", PNG)], "invalid_parameter", "file", "no audio"),
        (vec![model, ("file=a.mp3", b"%PDF-1.7")], "invalid_parameter", "file", "no audio"),
        (vec![model, ("file=a.mp3", b"{\"a\":1}")], "invalid_parameter", "file", "no audio"),
        (vec![model, ("stream", b"perhaps"), recording], "invalid_parameter", "stream", "true or false"),
    ] {
        let row = format!("{:?}", fields.iter().map(|(name, _)| name).collect::<Vec<_>>());
        refused(&world, world.form(path, &fields).await, &row, code, Some(param), says).await;
    }
    let whole = form(&[model, recording]);
    for (content_type, body, says) in [
        ("multipart/form-data", whole.clone(), "boundary"),
        ("multipart/form-data; boundary=", whole.clone(), "boundary"),
        ("multipart/form-data; boundary=other", whole.clone(), "closing boundary"),
        (FORM, whole.slice(..whole.len() - 8), "closing boundary"),
        (FORM, Bytes::new(), "closing boundary"),
        ("application/json", whole.clone(), "multipart/form-data"),
        ("text/plain", whole.clone(), "multipart/form-data"),
    ] {
        let reply = world.send(path, content_type, Full::from(body)).await;
        refused(&world, reply, content_type, "invalid_parameter", None, says).await;
    }
}

/// A body of a million pieces of 64 KB that counts those that were taken; `length` is what it says of itself.
struct Endless {
    taken: Arc<AtomicUsize>,
    length: Option<u64>,
}

impl Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        static PIECE: [u8; 65_536] = [b'x'; 65_536];
        self.taken.fetch_add(PIECE.len(), SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&PIECE)))))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or(SizeHint::default(), SizeHint::with_exact)
    }
}

#[tokio::test]
async fn an_upload_beyond_the_bound_is_refused_by_its_length_and_else_at_the_byte_that_breaks_it() {
    let world = untouched().await;
    let body_bound = 33_554_432;
    for (path, content_type, bound, param) in [
        ("/v1/audio/transcriptions", FORM, BOUND, Some("file")),
        ("/v1/audio/translations", FORM, BOUND, Some("file")),
        ("/v1/images/edits", FORM, body_bound, None),
        ("/v1/images/generations", "application/json", body_bound, None),
        ("/v1/audio/speech", "application/json", body_bound, None),
    ] {
        for length in [Some(bound as u64 + 1), Some(u64::MAX), None] {
            let taken = Arc::new(AtomicUsize::new(0));
            let reply = world.send(path, content_type, Endless { taken: Arc::clone(&taken), length }).await;
            refused(&world, reply, path, "request_too_large", param, &bound.to_string()).await;
            let read = if length.is_some() { 0 } else { bound };
            assert!(taken.load(SeqCst) <= read + 65_536, "{path}: {} bytes were taken", taken.load(SeqCst));
        }
    }
}

#[tokio::test]
async fn a_text_that_cannot_be_spoken_is_refused_by_name() {
    let world = untouched().await;
    for (change, code, param, says) in [
        (json!({"input": ""}), "invalid_parameter", "input", ""),
        (json!({"input": null}), "missing_parameter", "input", "one string"),
        (json!({"input": ["a"]}), "missing_parameter", "input", "one string"),
        (json!({"input": "ü".repeat(4_097)}), "invalid_parameter", "input", "at most 4096"),
        (json!({"model": "minimax-tts", "input": "a".repeat(10_001)}), "invalid_parameter", "input", "10000"),
        (json!({"model": "minimax-tts", "input": ""}), "invalid_parameter", "input", "1 to 10000"),
        (
            json!({"model": "minimax-tts", "response_format": "opus"}),
            "invalid_parameter",
            "response_format",
            "mp3, pcm, flac, wav",
        ),
        (json!({"model": "minimax-tts", "speed": 9}), "invalid_parameter", "speed", "0.25 to 4"),
        (json!({"model": "minimax-tts", "speed": "fast"}), "invalid_parameter", "speed", "a number from 0.25 to 4"),
        (json!({"model": "minimax-tts", "response_format": 5}), "invalid_parameter", "response_format", "mp3, pcm"),
        (json!({"model": "minimax-tts", "voice": null}), "missing_parameter", "voice", "voice"),
        (json!({"model": "minimax-tts", "voice": 5}), "invalid_parameter", "voice", "name"),
        (json!({"model": "minimax-tts", "stream_format": "x"}), "invalid_parameter", "stream_format", "sse"),
    ] {
        let mut body = json!({"model": "openai-tts", "input": "Hi", "voice": "alloy"});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let row: Value = change;
        refused(&world, world.post("/v1/audio/speech", &body).await, &row.to_string(), code, Some(param), says).await;
    }
}
