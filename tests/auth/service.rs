//! As a tower service.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body_util::BodyExt;
use kancy::{AuthLayer, AuthService, Caller, KancyAuth, KeyAdmin, KeyStore, MemoryKeys};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_test::mock::spawn_layer;

use crate::setup::{Mood, Setup, bearer};

#[tokio::test]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    let setup = Setup::new();
    let key = setup.key("acme").await;
    setup.keys.set(Mood::Slow);
    let (mut service, mut handle) = spawn_layer::<Request<String>, Response<String>, _>(setup.layer.clone());
    assert_ready_ok!(service.poll_ready());
    let request = Request::builder().header("authorization", bearer(&key)).body("hello".to_owned()).unwrap();
    let mut response = task::spawn(service.call(request));
    assert_pending!(response.poll());

    setup.keys.gate.add_permits(1);
    assert_pending!(response.poll(), "the mock panics when a clone is called that was not asked");
    let (request, send) = handle.next_request().await.unwrap();
    assert_eq!(request.body(), "hello");
    send.send_response(Response::new("world".to_owned()));
    let response = assert_ready_ok!(response.poll());
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "world");
}

#[tokio::test]
async fn a_request_dropped_while_it_waits_never_reaches_the_service_behind() {
    let setup = Setup::new();
    let key = setup.key("acme").await;
    setup.keys.set(Mood::Slow);
    let (mut service, mut handle) = spawn_layer::<Request<String>, Response<String>, _>(setup.layer.clone());
    assert_ready_ok!(service.poll_ready());
    let request = Request::builder().header("authorization", bearer(&key)).body(String::new()).unwrap();
    let mut response = task::spawn(service.call(request));
    assert_pending!(response.poll());
    drop(response);
    setup.keys.gate.add_permits(1);
    assert_pending!(task::spawn(handle.next_request()).poll());
}

#[tokio::test]
async fn a_handler_finds_the_id_that_the_answer_tells() {
    let setup = Setup::new();
    let key = setup.key("acme").await;
    let told = service_fn(async |request: Request<()>| {
        let id = request.extensions().get::<Caller>().and_then(Caller::request_id).map(ToString::to_string);
        Ok::<_, Infallible>(Response::new(id.unwrap_or_default()))
    });
    let ask = |offered: Option<&str>| {
        let mut request = Request::builder().header("authorization", bearer(&key));
        if let Some(id) = offered {
            request = request.header("x-request-id", id);
        }
        setup.layer.layer(told).oneshot(request.body(()).unwrap())
    };
    for offered in [None, Some("trace-1")] {
        let answer = ask(offered).await.unwrap();
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert!(offered.map_or(id.starts_with("req_"), |offered| id == offered), "{id}");
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), id);
    }
}

#[derive(Clone)]
struct Broken;

impl Service<Request<()>> for Broken {
    type Response = Response<String>;
    type Error = &'static str;
    type Future = Ready<Result<Response<String>, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Err("broken"))
    }
}

#[tokio::test]
async fn an_error_of_the_service_behind_stays_its_own() {
    let setup = Setup::new();
    let key = setup.key("acme").await;
    let request = Request::builder().header("authorization", bearer(&key)).body(()).unwrap();
    assert_eq!(setup.layer.layer(Broken).oneshot(request).await.unwrap_err(), "broken");
}

#[tokio::test]
async fn nothing_secret_shows_in_debug() {
    let setup = Setup::new();
    let key = setup.key("acme").await;
    setup.keys.set(Mood::Slow);
    let inner = service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::new(String::new())) });
    let mut service = setup.layer.layer(inner);
    let request = Request::builder().header("authorization", bearer(&key)).body(String::new()).unwrap();
    let waiting = service.ready().await.unwrap().call(request);
    let record = setup.keys.held.get(&key.id).await.unwrap().unwrap();
    let shown = format!("{:?} {:?} {waiting:?} {record:?} {key:?}", setup.layer, setup.keys);
    let (_, secret) = key.text.expose().rsplit_once('_').unwrap();
    let digest = key.digest.as_bytes().map(|b| b.to_string()).join(", ");
    assert!(!shown.contains(secret) && !shown.contains(&digest), "{shown}");
}

#[test]
fn the_layer_has_two_names_takes_shared_stores_and_crosses_threads() {
    fn crosses<T: Clone + Send + Sync + 'static>(_: &T) {}
    let layer: AuthLayer = KancyAuth::new(MemoryKeys::new());
    let service: AuthService<()> = layer.layer(());
    crosses(&layer);
    crosses(&service);
    let shared: Arc<dyn KeyStore> = Arc::new(MemoryKeys::new());
    crosses(&AuthLayer::new(shared));
}
