//! The inspect layer from outside: what it hands on, and what it refuses.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, StreamBody};
use kancy::Modality;
use kancy::domain::model::{Catalog, ModelTerms};
use kancy::http::{body::CallBody, call::Call};
use kancy::inspect::InspectLayer;
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};

const CHAT: &str = "/v1/chat/completions";
const HELLO: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}"#;

/// The inner service: answers with the body it got, the model in `x-model`, and the length header it saw.
async fn echo(request: Request<CallBody>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::builder();
    if let Some(call) = request.extensions().get::<Call>() {
        response = response.header("x-model", call.model());
    }
    if let Some(length) = request.headers().get("content-length") {
        response = response.header("x-length", length);
    }
    Ok(response.body(Full::new(request.into_body().into_bytes())).unwrap())
}

async fn send<B>(layer: &InspectLayer, request: Request<B>) -> (http::response::Parts, Bytes)
where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (head, body) = layer.layer(service_fn(echo)).oneshot(request).await.unwrap().into_parts();
    (head, body.collect().await.unwrap().to_bytes())
}

/// Sends, and reads the refusal: status, code, param.
async fn refused<B>(layer: &InspectLayer, request: Request<B>) -> (u16, String, Value)
where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (head, body) = send(layer, request).await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    (head.status.as_u16(), body["error"]["code"].as_str().unwrap().to_owned(), body["error"]["param"].clone())
}

fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(path).body(Full::new(body.into())).unwrap()
}

fn pieces(pieces: Vec<Bytes>) -> impl Body<Data = Bytes, Error = Infallible> {
    StreamBody::new(futures_util::stream::iter(pieces.into_iter().map(|piece| Ok(Frame::data(piece)))))
}

#[tokio::test]
async fn a_call_is_handed_on_byte_for_byte_with_its_facts() {
    let cut = HELLO.as_bytes().chunks(3).map(Bytes::copy_from_slice).collect();
    let (head, body) = send(&InspectLayer::new(), Request::post(CHAT).body(pieces(cut)).unwrap()).await;
    assert_eq!((head.status, head.headers["x-model"].as_bytes()), (StatusCode::OK, &b"gpt-4o"[..]));
    assert_eq!(body, HELLO);
    assert!(head.headers.contains_key("x-request-id"));
}

#[tokio::test]
async fn what_is_no_model_route_passes_unread() {
    for request in [
        post("/other", "{"),
        post("/v1/chat/completions/", "{"),
        Request::get("/v1/videos").body(Full::new("{".into())).unwrap(),
    ] {
        let (head, body) = send(&InspectLayer::new(), request).await;
        assert_eq!((head.status, &body[..]), (StatusCode::OK, &b"{"[..]));
        assert!(!head.headers.contains_key("x-model"));
    }
}

#[tokio::test]
async fn a_made_up_length_does_not_go_on() {
    let mut request = post(CHAT, HELLO);
    request.headers_mut().insert("content-length", "3".parse().unwrap());
    let (head, _) = send(&InspectLayer::new(), request).await;
    assert_eq!(head.headers["x-length"], HELLO.len().to_string());
}

/// A body of `left` frames of ten bytes, which then breaks off; it counts how often it is polled.
struct Watched {
    polls: Arc<AtomicUsize>,
    size: SizeHint,
    left: usize,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Some(Err(std::io::Error::other("connection reset")))),
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b' '; 10])))))
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}

fn watched(left: usize) -> (Watched, Arc<AtomicUsize>) {
    let polls = Arc::new(AtomicUsize::new(0));
    (Watched { polls: polls.clone(), size: SizeHint::new(), left }, polls)
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_before_it_is_read_or_at_the_byte_that_breaks_it() {
    let layer = InspectLayer::new().max_body_bytes(25);
    let told = (400, "request_too_large".to_owned(), Value::Null);

    let (body, polls) = watched(usize::MAX);
    let by_header = Request::post(CHAT).header("content-length", 26).body(body).unwrap();
    assert_eq!(refused(&layer, by_header).await, told);
    assert_eq!(polls.load(Ordering::Relaxed), 0);

    let (mut body, polls) = watched(usize::MAX);
    body.size.set_lower(26);
    assert_eq!(refused(&layer, Request::post("/any").body(body).unwrap()).await, told);
    assert_eq!(polls.load(Ordering::Relaxed), 0);

    let (body, polls) = watched(usize::MAX);
    assert_eq!(refused(&layer, Request::post(CHAT).body(body).unwrap()).await, told);
    assert_eq!(polls.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn audio_uploads_have_a_bound_of_their_own() {
    let layer = InspectLayer::new().max_body_bytes(10).max_upload_bytes(20);
    let upload = |len| {
        let request =
            Request::post("/v1/audio/transcriptions").header("content-type", "multipart/form-data; boundary=b");
        request.body(pieces(vec![Bytes::from(vec![b'-'; len])])).unwrap()
    };
    assert_eq!(refused(&layer, upload(20)).await.1, "invalid_parameter");
    assert_eq!(refused(&layer, upload(21)).await.1, "request_too_large");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused() {
    let (body, _) = watched(2);
    let told = refused(&InspectLayer::new(), Request::post(CHAT).body(body).unwrap()).await;
    assert_eq!((told.0, told.1.as_str()), (400, "invalid_json"));
}

#[tokio::test]
async fn a_million_empty_frames_do_not_keep_a_call_from_passing() {
    let frames = std::iter::repeat_n(Bytes::new(), 1_000_000).chain([Bytes::from(HELLO)]);
    let body = StreamBody::new(futures_util::stream::iter(frames.map(|piece| Ok::<_, Infallible>(Frame::data(piece)))));
    let (head, body) = send(&InspectLayer::new(), Request::post(CHAT).body(body).unwrap()).await;
    assert_eq!((head.status, &body[..]), (StatusCode::OK, HELLO.as_bytes()));
}

#[tokio::test]
async fn bodies_in_a_form_that_the_route_does_not_take_are_refused() {
    for (path, header, value) in [
        (CHAT, "content-type", "text/plain"),
        (CHAT, "content-type", "multipart/form-data; boundary=b"),
        ("/v1/audio/transcriptions", "content-type", "application/json"),
        (CHAT, "content-encoding", "gzip"),
    ] {
        let mut request = post(path, HELLO);
        request.headers_mut().insert(header, value.parse().unwrap());
        let (status, code, _) = refused(&InspectLayer::new(), request).await;
        assert_eq!((status, code.as_str()), (400, "invalid_parameter"), "{path} {value}");
    }
    for value in ["application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json"] {
        let mut request = post(CHAT, HELLO);
        request.headers_mut().insert("content-type", value.parse().unwrap());
        assert_eq!(send(&InspectLayer::new(), request).await.0.status, StatusCode::OK, "{value}");
    }
}

#[tokio::test]
async fn edits_and_videos_take_json_and_forms() {
    let form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nsora\r\n--b--\r\n";
    for path in ["/v1/images/edits", "/v1/videos"] {
        let mut request = post(path, form);
        request.headers_mut().insert("content-type", "multipart/form-data; boundary=b".parse().unwrap());
        assert_eq!(send(&InspectLayer::new(), request).await.0.headers["x-model"], "sora");
        assert_eq!(send(&InspectLayer::new(), post(path, r#"{"model":"sora"}"#)).await.0.headers["x-model"], "sora");
    }
}

#[derive(Debug)]
struct OnlyGpt;

impl Catalog for OnlyGpt {
    fn terms(&self, id: &str) -> Option<Arc<ModelTerms>> {
        (id == "gpt-4o").then(|| Arc::new(ModelTerms::new("gpt-4o", Modality::Text)))
    }
}

#[tokio::test]
async fn refusals_name_code_and_field() {
    let layer = InspectLayer::new().catalog(OnlyGpt);
    let bomb = format!(r#"{{"model":"gpt-4o","messages":{}"#, "[".repeat(100_000));
    for (body, code, param) in [
        (r#"{"messages":[{}]}"#, "missing_parameter", Some("model")),
        (r#"{"model":null,"messages":[{}]}"#, "missing_parameter", Some("model")),
        (r#"{"model":"gpt-4","messages":[{}]}"#, "model_not_found", Some("model")),
        (r#"{"model":"","messages":[{}]}"#, "model_not_found", Some("model")),
        (r#"{"model":"gpt-4o"}"#, "missing_parameter", Some("messages")),
        (r#"{"model":"gpt-4o","messages":[]}"#, "invalid_parameter", Some("messages")),
        (r#"{"model":7,"messages":[{}]}"#, "invalid_parameter", Some("model")),
        (r#"{"model":"gpt-4o","stream":1,"messages":[{}]}"#, "invalid_parameter", Some("stream")),
        (r#"{"model":"gpt-4o","model":"x"}"#, "invalid_json", Some("model")),
        (&bomb, "invalid_json", None),
        ("", "invalid_json", None),
    ] {
        let told = refused(&layer, post(CHAT, body.to_owned())).await;
        assert_eq!(told, (400, code.to_owned(), param.into()), "{}", &body[..body.len().min(60)]);
    }
    assert_eq!(send(&layer, post(CHAT, HELLO)).await.0.status, StatusCode::OK);
}

#[tokio::test]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    // The mock panics when a clone that was never ready is called.
    let (inner, mut handle) = tower_test::mock::pair::<Request<CallBody>, Response<Full<Bytes>>>();
    handle.allow(1);
    let answer = tokio::spawn(InspectLayer::new().layer(inner).oneshot(post(CHAT, HELLO)));
    let (request, responder) = handle.next_request().await.unwrap();
    assert_eq!(request.into_body().into_bytes(), HELLO);
    responder.send_response(Response::new(Full::default()));
    assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::OK);
}
