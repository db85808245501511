//! The three homes, run as their users would: real servers on loopback, real clients.

#[path = "../examples/axum_app.rs"]
#[allow(dead_code, reason = "its `main` is the example's")]
mod axum_app;
#[path = "../examples/hyper_service.rs"]
#[allow(dead_code, reason = "its `main` is the example's")]
mod hyper_service;
#[path = "../examples/picture_and_voice.rs"]
#[allow(dead_code, reason = "its `main` is the example's")]
mod picture_and_voice;
#[path = "../examples/tonic_service.rs"]
#[allow(dead_code, reason = "its `main` is the example's")]
mod tonic_service;

use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use kancy::{Outcome, Secret, UsageRecord, UsageStore};
use tokio::net::TcpListener;
use tonic::transport::Endpoint;

use tonic_service::speech::{SpeakerClient, Text};

/// Status and body of a POST (or, without a body, a GET).
async fn ask(url: &str, key: Option<&Secret>, body: Option<&str>) -> (u16, String) {
    let client: Client<_, Full<bytes::Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut request = http::Request::builder().uri(url).method(if body.is_some() { "POST" } else { "GET" });
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {}", key.expose()));
    }
    let body = Full::from(body.unwrap_or_default().to_owned());
    let response = client.request(request.body(body).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// The records, oldest first.
async fn records(ledger: &impl UsageStore) -> Vec<UsageRecord> {
    let page = kancy::Page { after: None, limit: 100 };
    let mut records = ledger.records(Default::default(), page).await.unwrap().items;
    records.reverse();
    records
}

const HELLO: &str = r#"{"model":"demo-chat","messages":[{"role":"user","content":"Hello"}]}"#;

#[tokio::test]
async fn an_axum_app_governs_a_route_of_its_own_and_serves_the_gateway_beside_it() {
    let (app, key, ledger) = axum_app::app().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });

    assert_eq!(ask(&base, None, None).await.0, 200);
    let url = format!("{base}/summaries");
    let (status, body) = ask(&url, None, Some("a text")).await;
    assert!(status == 401 && body.contains("invalid_api_key"), "{status} {body}");
    let (status, body) = ask(&url, Some(&key), Some("a text")).await;
    assert!(status == 200 && body.contains("acme"), "{status} {body}");
    let (status, body) = ask(&format!("{base}/v1/chat/completions"), Some(&key), Some(HELLO)).await;
    assert!(status == 200 && body.contains("chat.completion"), "{status} {body}");
    assert_eq!(ask(&url, Some(&key), Some("third")).await.0, 200);
    let (status, body) = ask(&url, Some(&key), Some("one too many")).await;
    assert!(status == 429 && body.contains("rate_limit_exceeded"), "{status} {body}");

    let records = records(&*ledger).await;
    let seen: Vec<_> = records.iter().map(|r| (&*r.endpoint, r.outcome.unwrap(), r.usage.characters)).collect();
    assert_eq!(
        seen,
        [
            ("/summaries", Outcome::Completed, 6),
            ("/v1/chat/completions", Outcome::Completed, 0),
            ("/summaries", Outcome::Completed, 5),
            ("/summaries", Outcome::Refused, 0),
        ]
    );
}

#[tokio::test]
async fn the_gateway_runs_on_plain_hyper() {
    let (gateway, key) = hyper_service::gateway().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(hyper_service::serve(listener, gateway));

    let (status, body) = ask(&format!("{base}/v1/models"), Some(&key), None).await;
    assert!(status == 200 && body.contains("demo-chat"), "{status} {body}");
    let streamed = HELLO.replace("{\"model\"", "{\"stream\":true,\"model\"");
    let (status, body) = ask(&format!("{base}/v1/chat/completions"), Some(&key), Some(&streamed)).await;
    assert!(status == 200 && body.ends_with("data: [DONE]\n\n"), "{status} {body}");
}

#[tokio::test]
async fn a_grpc_service_is_governed_with_statuses_and_trailers_that_a_grpc_client_understands() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (key, ledger, server) = tonic_service::serve(listener).await.unwrap();
    tokio::spawn(server);
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = SpeakerClient::new(channel);
    let request = |text: &str, key: Option<&Secret>| {
        let mut request = tonic::Request::new(Text { text: text.to_owned() });
        if let Some(key) = key {
            let bearer = format!("Bearer {}", key.expose()).parse().unwrap();
            request.metadata_mut().insert("authorization", bearer);
        }
        request
    };

    let refused = client.say(request("hi", None)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    assert!(refused.message().contains("invalid_api_key"), "{refused}");

    assert_eq!(client.say(request("hi", Some(&key))).await.unwrap().into_inner().text, "HI");
    let invalid = client.say(request("", Some(&key))).await.unwrap_err();
    assert_eq!(invalid.code(), tonic::Code::InvalidArgument);
    let mut words = client.recite(request("to be", Some(&key))).await.unwrap().into_inner();
    assert_eq!(words.message().await.unwrap().unwrap().text, "TO");
    assert_eq!(words.message().await.unwrap().unwrap().text, "BE");
    assert!(words.message().await.unwrap().is_none());
    let mut broken = client.recite(request("so fail", Some(&key))).await.unwrap().into_inner();
    assert!(broken.message().await.unwrap().is_some());
    assert_eq!(broken.message().await.unwrap_err().code(), tonic::Code::Internal);

    assert_eq!(client.say(request("five", Some(&key))).await.unwrap().into_inner().text, "FIVE");
    let limited = client.say(request("six", Some(&key))).await.unwrap_err();
    assert_eq!(limited.code(), tonic::Code::ResourceExhausted);

    let seen: Vec<_> = records(&*ledger).await.iter().map(|r| (r.outcome.unwrap(), r.usage.characters)).collect();
    let done = |characters| (Outcome::Completed, characters);
    assert_eq!(seen, [done(2), done(0), done(5), (Outcome::Failed, 7), done(4), (Outcome::Refused, 0)]);
}

#[tokio::test]
async fn a_picture_is_made_and_a_text_read_aloud() {
    let picture = picture_and_voice::picture("demo-image", "a street").await.unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
    let voice = picture_and_voice::voice("demo-tts", "good morning").await.unwrap();
    assert!(voice.starts_with(b"RIFF"));
    let refused = picture_and_voice::picture("demo-image", "").await.unwrap_err();
    assert!(refused.to_string().contains("prompt"), "{refused}");
}
