mod over_hyper;

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Empty, Full};
use tower::ServiceExt as _;
use tower_layer::Layer as _;
use tower_service::Service;

use crate::base::clock::{ManualClock, Timestamp};
use crate::base::error::{Code, Error};
use crate::base::store_future::StoreFuture;
use crate::domain::caller::{Caller, Home, ModelPatterns};
use crate::domain::limit::Amounts;
use crate::domain::modality::Modality;
use crate::domain::name::Name;
use crate::domain::record::{Outcome, UsageRecord};
use crate::domain::usage::Usage;
use crate::http::meter::{Meter, Routed};
use crate::store::error::{StoreError, StoreResult};
use crate::store::ledger::UsageSink;

use super::{Closing, MeteringLayer};

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A sink that keeps what it is given, and is as durable and as healthy as a test wants.
#[derive(Clone, Debug, Default)]
struct Spy {
    opened: Arc<Mutex<Vec<UsageRecord>>>,
    records: Arc<Mutex<Vec<UsageRecord>>>,
    committed: Arc<Mutex<bool>>,
    durable: bool,
    broken: bool,
}

impl Spy {
    fn result(&self) -> StoreResult<()> {
        if self.broken { Err(StoreError::unavailable("the disk is full")) } else { Ok(()) }
    }

    fn only(&self) -> UsageRecord {
        let records = self.records.lock().unwrap();
        assert_eq!(records.len(), 1, "exactly one record: {records:#?}");
        records[0].clone()
    }

    fn count(&self) -> usize {
        self.records.lock().unwrap().len()
    }
}

impl UsageSink for Spy {
    fn open(&self, record: &UsageRecord) -> StoreFuture<StoreResult<()>> {
        self.opened.lock().unwrap().push(record.clone());
        StoreFuture::ready(self.result())
    }

    fn record(&self, record: UsageRecord) -> StoreFuture<StoreResult<()>> {
        self.records.lock().unwrap().push(record);
        let result = self.result();
        if !self.durable {
            return StoreFuture::ready(result);
        }
        let committed = Arc::clone(&self.committed);
        StoreFuture::new(std::future::poll_fn(move |_| match *committed.lock().unwrap() {
            true => Poll::Ready(result.clone()),
            false => Poll::Pending,
        }))
    }
}

fn caller() -> Caller {
    let name = |text: &str| Name::new(text).unwrap();
    let home = Home { workspace: name("acme"), project: name("site"), team: None, environment: None };
    Caller::new("key1".into(), None, home, ModelPatterns::all(), Modality::ALL.into())
}

fn request(method: Method, path: &str) -> Request<()> {
    let mut request = Request::builder().method(method).uri(path).body(()).unwrap();
    request.extensions_mut().insert(caller());
    request
}

fn chat() -> Request<()> {
    request(Method::POST, "/v1/chat/completions")
}

/// A step of a scripted service or body.
enum Step {
    Pend,
    Data(&'static str),
    Complete(&'static str),
    Trailers(&'static str),
    Break,
    Panic,
    Fail(Error),
}

/// A body that plays its steps, informing the meter as the route does.
struct Script(VecDeque<Step>, Meter);

impl Script {
    fn new(meter: &Meter, steps: impl IntoIterator<Item = Step>) -> Self {
        Self(steps.into_iter().collect(), meter.clone())
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let data = |text: &'static str| Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))));
        match self.0.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Pend) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Data(text)) => {
                self.1.deliver(Usage { output_tokens: 3, ..Usage::NONE });
                data(text)
            }
            Some(Step::Complete(text)) => {
                self.1.report(Usage { input_tokens: 20, output_tokens: 4, ..Usage::NONE });
                self.1.complete();
                data(text)
            }
            Some(Step::Trailers(status)) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", status.parse().unwrap());
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Some(Step::Break) => Poll::Ready(Some(Err("reset"))),
            Some(Step::Panic) => panic!("a body panics"),
            Some(Step::Fail(error)) => {
                self.1.fail(&error);
                Poll::Ready(None)
            }
        }
    }
}

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn meter_of<B>(request: &Request<B>) -> Meter {
    request.extensions().get::<Meter>().unwrap().clone()
}

/// A stack over a service that routes, waits once for its vendor, and answers with `steps`.
fn routed(
    layer: MeteringLayer,
    steps: impl Fn() -> Vec<Step> + Clone,
) -> impl Service<Request<()>, Response = Response<super::MeteringBody<Script>>, Error = &'static str> {
    layer.layer(tower::service_fn(move |request: Request<()>| {
        let steps = steps.clone();
        async move {
            let meter = meter_of(&request);
            meter.route(Routed { provider: "openai".into(), upstream: "gpt-4o-2024".into() });
            if !meter.open().await {
                return Err("no ledger");
            }
            meter.call().unwrap();
            tokio::task::yield_now().await;
            Ok(Response::new(Script::new(&meter, steps())))
        }
    }))
}

fn metering(spy: &Spy) -> MeteringLayer {
    MeteringLayer::new(spy.clone()).clock(ManualClock::at(START))
}

async fn outcome(steps: impl Fn() -> Vec<Step> + Clone) -> UsageRecord {
    let spy = Spy::default();
    let response = routed(metering(&spy), steps).oneshot(chat()).await.unwrap();
    let _ = response.into_body().collect().await;
    spy.only()
}

#[tokio::test]
async fn each_end_of_a_stream_has_its_outcome() {
    let provider = || Error::provider(Code::ProviderTimeout, "silence");
    let whole = outcome(|| vec![Step::Data("a"), Step::Complete("b"), Step::Data("[DONE]")]).await;
    assert_eq!((whole.outcome, whole.estimated), (Some(Outcome::Completed), false));
    assert_eq!((whole.usage.input_tokens, whole.usage.output_tokens, whole.status), (20, 4, Some(200)));
    assert_eq!(outcome(|| vec![Step::Data("a")]).await.outcome, Some(Outcome::Truncated));
    assert_eq!(outcome(|| vec![Step::Data("a"), Step::Break]).await.outcome, Some(Outcome::Failed));
    let failed = outcome(move || vec![Step::Data("a"), Step::Fail(provider())]).await;
    assert_eq!((failed.outcome, failed.code.as_deref()), (Some(Outcome::ProviderFailed), Some("provider_timeout")));
    assert!(failed.estimated && failed.usage.output_tokens == 3, "what was delivered is booked");
}

#[tokio::test]
async fn a_request_left_after_any_number_of_polls_has_exactly_one_record() {
    let steps = || vec![Step::Pend, Step::Data("a"), Step::Pend, Step::Data("b"), Step::Complete("c"), Step::Data("d")];
    let mut outcomes = Vec::new();
    for polls in 0.. {
        let spy = Spy::default();
        let mut left = polls;
        let mut future = Box::pin(routed(metering(&spy), steps).oneshot(chat()));
        let mut body = None;
        let mut finished = false;
        while left > 0 && !finished {
            left -= 1;
            match body.as_mut() {
                None => {
                    if let Poll::Ready(response) = poll_once(future.as_mut()) {
                        body = Some(response.unwrap().into_body());
                    }
                }
                Some(body) => finished = matches!(poll_once(std::pin::pin!(body.frame())), Poll::Ready(None)),
            }
        }
        let has_head = body.is_some();
        drop((future, body));
        if polls == 0 {
            assert_eq!(spy.count(), 0, "the service was never called");
            continue;
        }
        let record = spy.only();
        assert_eq!(record.status.is_some(), has_head, "no status without a head");
        outcomes.push(record.outcome.unwrap());
        if finished {
            break;
        }
    }
    let left = outcomes.iter().filter(|o| **o == Outcome::ClientClosed).count();
    let whole = outcomes.iter().filter(|o| **o == Outcome::Completed).count();
    assert!(left >= 5 && whole >= 1 && left + whole == outcomes.len(), "{outcomes:?}");
    assert!(outcomes.is_sorted_by_key(|o| *o == Outcome::Completed), "{outcomes:?}");
}

#[tokio::test]
async fn a_panic_is_recorded_as_our_failure_even_when_it_is_caught_further_out() {
    let spy = Spy::default();
    let mut at_once = metering(&spy).layer(tower::service_fn(
        |_: Request<()>| -> std::future::Ready<Result<Response<Empty<Bytes>>, ()>> { panic!("a handler panics") },
    ));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(at_once.call(chat())))).is_err());
    assert_eq!(spy.only().outcome, Some(Outcome::Failed));

    let spy = Spy::default();
    let service = metering(&spy).layer(tower::service_fn(|_: Request<()>| async {
        tokio::task::yield_now().await;
        if true {
            panic!("a handler panics")
        }
        Ok::<_, ()>(Response::new(Empty::<Bytes>::new()))
    }));
    let mut future = Box::pin(service.oneshot(chat()));
    assert!(poll_once(future.as_mut()).is_pending());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(poll_once(future.as_mut())))).is_err());
    drop(future);
    let record = spy.only();
    assert_eq!((record.outcome, record.status), (Some(Outcome::Failed), None));

    let spy = Spy::default();
    let response = routed(metering(&spy), || vec![Step::Panic]).oneshot(chat()).await.unwrap();
    let mut body = Box::pin(response.into_body());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(poll_once(std::pin::pin!(body.frame()))))).is_err());
    drop(body);
    assert_eq!(spy.only().outcome, Some(Outcome::Failed));
}

#[tokio::test]
async fn an_error_of_the_inner_service_passes_unchanged_and_is_recorded() {
    let spy = Spy::default();
    let service = metering(&spy).layer(tower::service_fn(|_: Request<()>| async {
        Err::<Response<Empty<Bytes>>, _>("the handler's own error")
    }));
    assert_eq!(service.oneshot(chat()).await.unwrap_err(), "the handler's own error");
    assert_eq!(spy.only().outcome, Some(Outcome::Failed));
}

#[tokio::test]
async fn answers_without_a_body_are_recorded_before_anyone_polls() {
    for (status, outcome) in [
        (StatusCode::NO_CONTENT, Outcome::Completed),
        (StatusCode::OK, Outcome::Completed),
        (StatusCode::INTERNAL_SERVER_ERROR, Outcome::Failed),
    ] {
        let spy = Spy::default();
        let service = metering(&spy).layer(tower::service_fn(move |_: Request<()>| async move {
            Ok::<_, ()>(Response::builder().status(status).body(Empty::<Bytes>::new()).unwrap())
        }));
        let response = service.oneshot(chat()).await.unwrap();
        assert!(response.body().is_end_stream());
        let record = spy.only();
        assert_eq!((record.outcome, record.status), (Some(outcome), Some(status.as_u16())));
    }
}

#[tokio::test]
async fn a_grpc_fault_is_read_from_trailers_and_from_a_trailers_only_head() {
    for (status, outcome) in [("0", Outcome::Completed), ("13", Outcome::Failed)] {
        let spy = Spy::default();
        let service = metering(&spy).layer(tower::service_fn(move |request: Request<()>| async move {
            let body = Script::new(&meter_of(&request), [Step::Data("message"), Step::Trailers(status)]);
            Ok::<_, ()>(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
        }));
        let response = service.oneshot(request(Method::POST, "/pkg.Chat/Say")).await.unwrap();
        let collected = response.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], status, "trailers pass untouched");
        let record = spy.only();
        assert_eq!((record.outcome, &*record.endpoint), (Some(outcome), "/pkg.Chat/Say"));

        let spy = Spy::default();
        let service = metering(&spy).layer(tower::service_fn(move |_: Request<()>| async move {
            Ok::<_, ()>(Response::builder().header("grpc-status", status).body(Empty::<Bytes>::new()).unwrap())
        }));
        drop(service.oneshot(chat()).await.unwrap());
        assert_eq!(spy.only().outcome, Some(outcome));
    }
}

#[tokio::test]
async fn the_last_frame_waits_for_the_commit_and_goes_out_even_when_it_fails() {
    for broken in [false, true] {
        let spy = Spy { durable: true, broken, ..Spy::default() };
        let service = metering(&spy).layer(tower::service_fn(|_: Request<()>| async {
            Ok::<_, ()>(Response::new(Full::new(Bytes::from_static(b"answer"))))
        }));
        let mut body = Box::pin(service.oneshot(chat()).await.unwrap().into_body());
        assert!(poll_once(std::pin::pin!(body.frame())).is_pending());
        assert_eq!((spy.count(), body.is_end_stream(), body.size_hint().exact()), (1, false, Some(6)));
        *spy.committed.lock().unwrap() = true;
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "answer");
        assert!(body.is_end_stream());
    }
}

#[test]
fn a_caller_who_left_before_admission_is_on_record_and_counts_against_no_limit() {
    for (is_admitted, want) in [(false, Amounts::default()), (true, Amounts::ONE_REQUEST)] {
        let spy = Spy::default();
        let service = metering(&spy).layer(tower::service_fn(|request: Request<()>| {
            if is_admitted {
                request.extensions().get::<Meter>().unwrap().hold(Amounts::ONE_REQUEST);
            }
            std::future::pending::<Result<Response<Empty<Bytes>>, ()>>()
        }));
        let mut future = Box::pin(service.oneshot(chat()));
        assert!(poll_once(future.as_mut()).is_pending());
        drop(future);
        let record = spy.only();
        assert_eq!((record.outcome, record.amounts()), (Some(Outcome::ClientClosed), want));
    }
}

#[tokio::test]
async fn a_head_without_a_body_waits_for_the_commit() {
    let spy = Spy { durable: true, ..Spy::default() };
    let service = metering(&spy)
        .layer(tower::service_fn(|_: Request<()>| async { Ok::<_, ()>(Response::new(Empty::<Bytes>::new())) }));
    let mut future = Box::pin(service.oneshot(chat()));
    assert!(poll_once(future.as_mut()).is_pending());
    assert!(poll_once(future.as_mut()).is_pending());
    *spy.committed.lock().unwrap() = true;
    assert!(future.await.unwrap().body().is_end_stream());
    assert_eq!(spy.only().outcome, Some(Outcome::Completed));
}

#[tokio::test]
async fn a_hold_is_journaled_before_the_call_and_ended_under_the_same_id() {
    let spy = Spy::default();
    let response = routed(metering(&spy), || vec![Step::Complete("a")]).oneshot(chat()).await.unwrap();
    let opened = spy.opened.lock().unwrap()[0].clone();
    assert_eq!((opened.outcome, opened.held, spy.count()), (None, Some(Amounts::ONE_REQUEST), 0));
    drop(response.into_body().collect().await);
    let record = spy.only();
    assert_eq!((&record.id, record.held), (&opened.id, None));
    assert_eq!(record.upstream_model.as_deref(), Some("gpt-4o-2024"));

    let spy = Spy { broken: true, ..Spy::default() };
    let service = routed(metering(&spy), Vec::new);
    assert_eq!(service.oneshot(chat()).await.unwrap_err(), "no ledger");
    assert_eq!(spy.only().usage, Usage::NONE, "the vendor was not called");
}

#[tokio::test]
async fn who_is_not_to_be_metered_passes_without_a_record() {
    let answer = |request: Request<()>| async move {
        let metered = request.extensions().get::<Meter>().is_some();
        Ok::<_, ()>(Response::new(Full::new(Bytes::from(metered.to_string()))))
    };
    let stranger = || Request::builder().method(Method::POST).uri("/v1/chat/completions").body(()).unwrap();
    let cases = [
        (stranger(), false, false),
        (request(Method::GET, "/v1/models"), false, false),
        (request(Method::HEAD, "/v1/models"), false, false),
        (chat(), true, true),
        (request(Method::POST, "/pkg.Chat/Say"), true, false),
        (request(Method::DELETE, "/v1/videos/generations/1"), false, false),
    ];
    for (request, always, on_model_routes) in cases {
        for (only, metered) in [(false, always), (true, on_model_routes)] {
            let spy = Spy::default();
            let layer = if only { metering(&spy).model_routes_only() } else { metering(&spy) };
            let mut again = Request::builder().method(request.method()).uri(request.uri()).body(()).unwrap();
            *again.extensions_mut() = request.extensions().clone();
            let response = layer.layer(tower::service_fn(answer)).oneshot(again).await.unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!((&*body, spy.count()), (metered.to_string().as_bytes(), usize::from(metered)));
        }
    }
}

#[tokio::test]
async fn a_layer_used_twice_records_once() {
    let (outer, inner) = (Spy::default(), Spy::default());
    let handler = tower::service_fn(|_: Request<()>| async { Ok::<_, ()>(Response::new(Empty::<Bytes>::new())) });
    drop(metering(&outer).layer(metering(&inner).layer(handler)).oneshot(chat()).await.unwrap());
    assert_eq!((outer.count(), inner.count()), (1, 0));
}

#[tokio::test]
async fn a_stream_cut_after_closing_is_our_failure() {
    let spy = Spy::default();
    let closing = Closing::default();
    let layer = metering(&spy).closing(closing.clone());
    let response = routed(layer, || vec![Step::Data("a")]).oneshot(chat()).await.unwrap();
    closing.close();
    drop(response);
    assert_eq!(spy.only().outcome, Some(Outcome::Failed));
}

#[tokio::test]
async fn a_drained_answer_is_recorded_when_the_drain_is_over() {
    let spy = Spy::default();
    let seen = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&seen);
    let service = metering(&spy).layer(tower::service_fn(move |request: Request<()>| {
        let meter = meter_of(&request);
        *keep.lock().unwrap() = Some(meter.clone());
        async move { Ok::<_, ()>(Response::new(Script::new(&meter, [Step::Data("a")]))) }
    }));
    let response = service.oneshot(chat()).await.unwrap();
    let meter = seen.lock().unwrap().take().unwrap();
    meter.call().unwrap();
    meter.drain();
    drop(response);
    assert_eq!(spy.count(), 0);
    meter.report(Usage { input_tokens: 9, output_tokens: 9, ..Usage::NONE });
    meter.complete();
    meter.drained();
    let record = spy.only();
    assert_eq!((record.outcome, record.estimated), (Some(Outcome::ClientClosed), false));
    assert_eq!(record.usage.output_tokens, 9, "the vendor's own count");
}

#[tokio::test]
async fn times_are_taken_from_the_clock() {
    let clock = Arc::new(ManualClock::at(START));
    let spy = Spy::default();
    let handlers = Arc::clone(&clock);
    let service = MeteringLayer::new(spy.clone()).clock(Arc::clone(&clock)).layer(tower::service_fn(
        move |request: Request<()>| {
            handlers.advance(Duration::from_millis(250));
            async move { Ok::<_, ()>(Response::new(Script::new(&meter_of(&request), [Step::Data("a")]))) }
        },
    ));
    let mut body = Box::pin(service.oneshot(chat()).await.unwrap().into_body());
    assert!(body.frame().await.is_some());
    clock.advance(Duration::from_millis(1_000));
    assert!(body.frame().await.is_none());
    let record = spy.only();
    assert_eq!((record.time, record.first_byte_ms, record.latency_ms), (START, Some(250), Some(1_250)));
}

#[tokio::test]
async fn a_request_id_that_was_minted_here_is_told_and_recorded() {
    let spy = Spy::default();
    let handler = tower::service_fn(|_: Request<()>| async { Ok::<_, ()>(Response::new(Empty::<Bytes>::new())) });
    let response = metering(&spy).layer(handler).oneshot(chat()).await.unwrap();
    let record = spy.only();
    assert_eq!(response.headers()["x-request-id"].to_str().unwrap(), &*record.request_id);
    assert_ne!(record.id, record.request_id);
    assert_eq!((&*record.key_id, record.modality), ("key1", Some(Modality::Text)));
}

#[test]
fn services_and_bodies_may_move_between_threads() {
    fn is_send<T: Send>() {}
    fn is_shared<T: Send + Sync + Clone>() {}
    is_shared::<MeteringLayer>();
    is_shared::<super::MeteringService<()>>();
    is_send::<super::MeteringBody<Empty<Bytes>>>();
    is_send::<super::ResponseFuture<std::future::Ready<()>, Empty<Bytes>>>();
}

#[tokio::test]
async fn a_long_path_of_a_handler_is_cut_between_characters() {
    let spy = Spy::default();
    let handler = tower::service_fn(|_: Request<()>| async { Ok::<_, ()>(Response::new(Empty::<Bytes>::new())) });
    let path = format!("/{}", "x".repeat(1_000));
    drop(metering(&spy).layer(handler).oneshot(request(Method::POST, &path)).await.unwrap());
    assert_eq!(spy.only().endpoint.len(), 256);
}
