//! How a stream's end reaches the caller and the ledger.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, response};
use http_body_util::{BodyExt, Full};
use kancy::config::Stores;
use kancy::{Clock, Config, MintedKey, SystemClock};
use tower::ServiceExt;

const CHUNK: &str = r#"data: {"choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}]}"#;
const FINISH: &str = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;

/// What a caller gets whose vendor of `kind` streams `events` and ends there: the answer's head and body, and the record's
/// outcome and code.
async fn streamed_by(kind: &str, events: &[&str]) -> (response::Parts, String, String) {
    let key = MintedKey::new(None).text;
    let config = format!(
        r#"
        [storage]
        url = "memory:"
        [providers.vendor]
        kind = "{kind}"
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
    let sent: String = events.iter().flat_map(|event| [*event, "\n\n"]).collect();
    let vendor = tower::service_fn(move |_| {
        let response = Response::builder().header("content-type", "text/event-stream");
        let response = response.body(Full::new(Bytes::from(sent.clone()))).unwrap();
        async move { Ok::<_, Infallible>(response) }
    });
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let config = Config::parse(&config, |_| None).unwrap();
    let assembled = config.gateway(Stores::memory(Arc::clone(&clock)), vendor, kancy::TokioHost, clock).await;
    let gateway = assembled.unwrap().0.build();

    let call = |method: &str, path: &str, body: &'static str| {
        let authorization = format!("Bearer {}", key.expose());
        let request = Request::builder().method(method).uri(path).header("authorization", authorization);
        gateway.clone().oneshot(request.body(Full::new(Bytes::from(body))).unwrap())
    };
    let asked = r#"{"model":"chat","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let answer = call("POST", "/v1/chat/completions", asked).await.unwrap();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let records = call("GET", "/v1/requests", "").await.unwrap().into_body().collect().await.unwrap().to_bytes();
    let records: serde_json::Value = serde_json::from_slice(&records).unwrap();
    let record = &records["data"][0];
    (head, String::from_utf8(body.into()).unwrap(), format!("{} {}", record["outcome"], record["code"]))
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

#[tokio::test]
async fn a_finish_without_done_is_an_end() {
    let (_, body, record) = streamed(&[CHUNK, FINISH]).await;
    assert_eq!((body, record.as_str()), (format!("{CHUNK}\n\n{FINISH}\n\n"), r#""completed" null"#));
}
