//! How a stream's end reaches the caller and the ledger.

use std::convert::Infallible;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode, response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use kancy::config::Stores;
use kancy::route::VendorClient;
use kancy::{Clock, Closing, Config, Gateway, MintedKey, Secret, SystemClock};
use tokio_test::{assert_pending, assert_ready, task};
use tower::ServiceExt;

const CHUNK: &str = r#"data: {"choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}]}"#;
const FINISH: &str = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;

/// A gateway to the model `chat` of a vendor of `kind`, the switch by which it goes down, and a caller's key.
async fn gateway<C: VendorClient + Debug + Sync>(kind: &str, vendor: C) -> (Gateway<C>, Closing, Secret) {
    let key = MintedKey::new(None).text;
    let config = format!(
        r#"
        [storage]
        url = "memory:"
        [providers.vendor]
        kind = "{kind}"
        base_url = "https://vendor.test/v1"
        api_key = "upstream"
        [models.chat]
        provider = "vendor"
        max_output_tokens = 100
        [[keys]]
        key = "{key}"
        workspace = "acme"
        project = "site"
        "#,
        key = key.expose()
    );
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let config = Config::parse(&config, |_| None).unwrap();
    let assembled = config.gateway(Stores::memory(Arc::clone(&clock)), vendor, kancy::TokioHost, clock).await;
    let closing = Closing::default();
    (assembled.unwrap().0.closing(closing.clone()).build(), closing, key)
}

fn request(key: &Secret, method: &str, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("authorization", format!("Bearer {}", key.expose()));
    request.body(Full::new(Bytes::from(body))).unwrap()
}

fn chat(key: &Secret) -> Request<Full<Bytes>> {
    let asked = r#"{"model":"chat","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    request(key, "POST", "/v1/chat/completions", asked)
}

/// The outcome and code of the one record.
async fn record<C: VendorClient + Debug + Sync>(gateway: &Gateway<C>, key: &Secret) -> String {
    let answer = gateway.clone().oneshot(request(key, "GET", "/v1/requests", "")).await.unwrap();
    let records = answer.into_body().collect().await.unwrap().to_bytes();
    let records: serde_json::Value = serde_json::from_slice(&records).unwrap();
    assert_eq!(records["data"].as_array().unwrap().len(), 1);
    let record = &records["data"][0];
    format!("{} {}", record["outcome"], record["code"])
}

/// What a caller gets whose vendor of `kind` streams `events` and ends there: the answer's head and body, and the record's
/// outcome and code.
async fn streamed_by(kind: &str, events: &[&str]) -> (response::Parts, String, String) {
    let sent: String = events.iter().flat_map(|event| [*event, "\n\n"]).collect();
    streamed_in(kind, &[Some(&sent)]).await
}

/// The same of these pieces; at `None` the vendor pauses.
async fn streamed_in(kind: &str, pieces: &[Option<&str>]) -> (response::Parts, String, String) {
    let pieces = Pieces(pieces.iter().rev().map(|piece| piece.map(|piece| Bytes::from(piece.to_owned()))).collect());
    let vendor = tower::service_fn(move |_| {
        let response = Response::builder().header("content-type", "text/event-stream");
        let response = response.body(pieces.clone()).unwrap();
        async move { Ok::<_, Infallible>(response) }
    });
    let (gateway, _, key) = gateway(kind, vendor).await;
    let (head, body) = gateway.clone().oneshot(chat(&key)).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head, String::from_utf8(body.into()).unwrap(), record(&gateway, &key).await)
}

/// A vendor's body in pieces, the last one first.
#[derive(Clone)]
struct Pieces(Vec<Option<Bytes>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.pop() {
            Some(Some(piece)) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            Some(None) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => Poll::Ready(None),
        }
    }
}

async fn streamed(events: &[&str]) -> (StatusCode, String, String) {
    let (head, body, record) = streamed_by("openai", events).await;
    (head.status, body, record)
}

#[tokio::test]
async fn streams_of_every_kind_of_vendor_tell_proxies_not_to_gather_them() {
    const CLAUDE: &str = concat!(
        r#"data: {"type":"message_start","message":{"id":"msg_1","model":"m","usage":{"input_tokens":1,"output_tokens":1}}}"#,
        "\n\n",
        r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        "\n\n",
        r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#,
    );
    const GEMINI: &str = r#"data: {"candidates":[{"content":{"parts":[{"text":"Hi"}]},"finishReason":"STOP"}]}"#;
    for (kind, event) in [("openai", CHUNK), ("anthropic", CLAUDE), ("gemini", GEMINI)] {
        let (head, body, _) = streamed_by(kind, &[event]).await;
        assert_eq!(head.status, StatusCode::OK, "{kind}: {body}");
        let told = |name: &str| head.headers[name].to_str().unwrap();
        assert!(told("content-type").starts_with("text/event-stream"), "{kind}: {body}");
        assert_eq!((told("cache-control"), told("x-accel-buffering")), ("no-cache", "no"), "{kind}");
    }
}

#[tokio::test]
async fn a_stream_that_ends_before_its_finish_is_told_to_the_caller_and_recorded_as_truncated() {
    let (status, body, record) = streamed(&[CHUNK]).await;
    assert_eq!((status, record.as_str()), (StatusCode::OK, r#""truncated" "provider_error""#));
    let events: Vec<_> = body.split_terminator("\n\n").collect();
    assert_eq!((events.len(), events[0]), (2, CHUNK));
    assert!(events[1].starts_with(r#"data: {"error":{"message":"#), "{body}");
}

#[tokio::test]
async fn a_stream_without_an_event_has_failed_with_its_own_status() {
    let (status, body, record) = streamed(&[]).await;
    assert_eq!((status, record.as_str()), (StatusCode::INTERNAL_SERVER_ERROR, r#""provider_failed" "provider_error""#));
    assert!(body.starts_with(r#"{"error":"#), "{body}");
}

const COMMENT: &str = ": OPENROUTER PROCESSING\n\n";
const BUSY: &str = "data: {\"error\":{\"message\":\"Slow down\",\"code\":429}}\n\n";

#[tokio::test]
async fn comments_before_an_error_do_not_take_its_status_from_it() {
    let together = format!("{COMMENT}{COMMENT}{BUSY}");
    for pieces in [
        &[Some(together.as_str())][..],
        &[Some(COMMENT), Some(COMMENT), Some(BUSY)],
        &[None, Some(COMMENT), Some(BUSY)],
    ] {
        let (head, body, record) = streamed_in("openai-compatible", pieces).await;
        assert_eq!(
            (head.status, record.as_str()),
            (StatusCode::TOO_MANY_REQUESTS, r#""provider_failed" "provider_rate_limited""#)
        );
        assert!(body.starts_with(r#"{"error":"#), "{body}");
    }
    let (head, body, record) = streamed_in("openai-compatible", &[Some(COMMENT)]).await;
    assert_eq!(
        (head.status, record.as_str()),
        (StatusCode::INTERNAL_SERVER_ERROR, r#""provider_failed" "provider_error""#),
        "{body}"
    );
}

#[tokio::test]
async fn comments_go_out_when_the_vendor_pauses_and_in_their_place() {
    let (head, body, record) = streamed_in("openai-compatible", &[Some(COMMENT), None, Some(BUSY)]).await;
    assert_eq!((head.status, record.as_str()), (StatusCode::OK, r#""provider_failed" "provider_rate_limited""#));
    assert!(body.starts_with(&format!("{COMMENT}data: {{\"error\":")), "{body}");
    let whole = format!("{COMMENT}{CHUNK}\n\n{COMMENT}{FINISH}\n\ndata: [DONE]\n\n");
    for cut in 0..whole.len() {
        for pieces in
            [[Some(&whole[..cut]), Some(&whole[cut..]), None], [Some(&whole[..cut]), None, Some(&whole[cut..])]]
        {
            let (_, body, record) = streamed_in("openai-compatible", &pieces).await;
            assert_eq!((body.as_str(), record.as_str()), (whole.as_str(), r#""completed" null"#), "cut at {cut}");
        }
    }
}

#[tokio::test]
async fn a_finish_without_done_is_an_end() {
    let (_, body, record) = streamed(&[CHUNK, FINISH]).await;
    assert_eq!((body, record.as_str()), (format!("{CHUNK}\n\n{FINISH}\n\n"), r#""completed" null"#));
}

/// A vendor's stream that gives one event and then nothing for as long as anybody waits.
struct Stalled(Option<String>);

impl Body for Stalled {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.take().map_or(Poll::Pending, |event| Poll::Ready(Some(Ok(Frame::data(event.into())))))
    }
}

#[tokio::test]
async fn a_stream_that_our_shutdown_cuts_ends_with_an_error_event_and_has_failed() {
    let vendor = tower::service_fn(|_| async {
        let response = Response::builder().header("content-type", "text/event-stream");
        Ok::<_, Infallible>(response.body(Stalled(Some(format!("{CHUNK}\n\n")))).unwrap())
    });
    let (gateway, closing, key) = gateway("openai", vendor).await;
    let mut body = gateway.clone().oneshot(chat(&key)).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), format!("{CHUNK}\n\n"));
    let mut rest = task::spawn(body.collect());
    assert_pending!(rest.poll());
    closing.close();
    assert!(rest.is_woken(), "nobody else would poll it again");
    let rest = assert_ready!(rest.poll()).unwrap().to_bytes();
    let event: serde_json::Value = serde_json::from_slice(rest.strip_prefix(b"data: ").unwrap()).unwrap();
    assert_eq!(event["error"]["code"], "internal_error");
    assert_eq!(event["error"]["origin"], "gateway");
    assert_eq!(record(&gateway, &key).await, r#""failed" "internal_error""#);
}

#[tokio::test]
async fn a_request_whose_answer_has_not_begun_is_told_of_our_shutdown_when_it_is_polled_again() {
    let vendor = tower::service_fn(|_| std::future::pending::<Result<Response<Stalled>, Infallible>>());
    let (gateway, closing, key) = gateway("openai", vendor).await;
    let mut answer = task::spawn(gateway.clone().oneshot(chat(&key)));
    assert_pending!(answer.poll());
    closing.close();
    let answer = assert_ready!(answer.poll()).unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(br#"{"error":{"message":"The gateway was shut down"#), "{body:?}");
    assert_eq!(record(&gateway, &key).await, r#""failed" "internal_error""#);
}
