use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;

use super::hold::{self, Hold};
use super::*;
use crate::base::clock::{ManualClock, Timestamp};
use crate::base::error::{Code, Error};
use crate::base::money::{Money, Rate};
use crate::base::store_future::StoreFuture;
use crate::domain::caller::{Caller, Home, ModelPatterns};
use crate::domain::endpoint::Endpoint;
use crate::domain::hold::LastingHold;
use crate::domain::limit::{Amounts, Limit, LimitKey, Measure, Mode, OnStoreFailure, Per};
use crate::domain::limit_book::LimitBook;
use crate::domain::modality::Modality;
use crate::domain::model::ModelTerms;
use crate::domain::name::Name;
use crate::domain::price::{Price, Rates};
use crate::domain::usage::Usage;
use crate::http::body::Segments;
use crate::http::call::{AudioLength, Call, Facts, Located};
use crate::http::meter::{Abandoned, Meter};
use crate::store::error::{StoreError, StoreResult};
use crate::store::memory::quota::MemoryQuota;
use crate::store::quota::{Decision, LimitState, QuotaStore, Reservation};

mod ends;
mod holds;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

fn caller() -> Caller {
    let name = |text| Name::new(text).unwrap();
    let home = Home { workspace: name("acme"), project: name("site"), team: None, environment: None };
    Caller::new("key1".into(), None, home, ModelPatterns::all(), Arc::from(Modality::ALL.as_slice()))
}

fn limit(measure: Measure, per: Option<Per>, amount: u64) -> Limit {
    let key = LimitKey { scope: "workspace:acme".parse().unwrap(), modality: None, model: None, measure, per };
    Limit::new(key, amount)
}

fn shadow(mut limit: Limit) -> Limit {
    limit.mode = Mode::Shadow;
    limit
}

/// A memory store and a layer over it.
struct Stage {
    store: MemoryQuota,
    book: Arc<LimitBook>,
    layer: QuotaLayer,
}

fn stage(limits: impl IntoIterator<Item = Limit>) -> Stage {
    let store = MemoryQuota::new();
    let book = Arc::new(LimitBook::new(limits).unwrap());
    let layer = QuotaLayer::new(store.clone(), book.clone()).clock(ManualClock::at(START));
    Stage { store, book, layer }
}

impl Stage {
    /// Used and reserved of the limit on `measure`.
    fn counts(&self, measure: Measure) -> (u64, u64) {
        let limits = self.book.all().into_iter().filter(|l| l.key.measure == measure).collect();
        let states = self.store.state(limits, START).now().unwrap().unwrap();
        (states[0].used, states[0].reserved)
    }
}

fn post() -> Request<()> {
    let mut request = Request::post("/v1/chat/completions").body(()).unwrap();
    request.extensions_mut().insert(caller());
    request
}

async fn send(layer: &QuotaLayer, request: Request<()>) -> (StatusCode, HeaderMap, serde_json::Value) {
    let inner = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Full::from("hello"))) });
    let (parts, body) = layer.layer(inner).oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, serde_json::from_slice(&bytes).unwrap_or_default())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|v| v.to_str().unwrap())
}

#[tokio::test]
async fn a_request_without_a_caller_never_reaches_the_inner_service() {
    let stage = stage([]);
    let inner = service_fn(|_: Request<()>| async {
        panic!("reached");
        #[allow(unreachable_code)]
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let response = stage.layer.layer(inner).oneshot(Request::post("/").body(()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 500);
}

#[tokio::test]
async fn what_only_reads_or_deletes_passes_uncounted() {
    let stage = stage([limit(Measure::Requests, Some(Per::Day), 1)]);
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::DELETE] {
        let request = Request::builder().method(method).body(()).unwrap();
        assert_eq!(send(&stage.layer, request).await.0, 200);
    }
    assert_eq!(stage.counts(Measure::Requests), (0, 0));
}

#[tokio::test]
async fn answers_tell_what_is_left_of_the_limit_with_the_least_in_proportion() {
    let stage = stage([
        limit(Measure::Requests, Some(Per::Minute), 10),
        limit(Measure::Requests, Some(Per::Day), 2),
        limit(Measure::Requests, Some(Per::Hour), 1_000),
        shadow(limit(Measure::Requests, Some(Per::Total), 1)),
    ]);
    let (status, headers, _) = send(&stage.layer, post()).await;
    assert_eq!(status, 200);
    assert_eq!(text(&headers, "x-ratelimit-limit-requests"), Some("2"));
    assert_eq!(text(&headers, "x-ratelimit-remaining-requests"), Some("1"));
    assert_eq!(text(&headers, "x-ratelimit-reset-requests"), Some("16h0m0s"));
    assert_eq!(text(&headers, "x-ratelimit-limit-tokens"), None);
    send(&stage.layer, post()).await;
    let (status, headers, body) = send(&stage.layer, post()).await;
    assert_eq!(status, 429);
    assert_eq!(text(&headers, "x-ratelimit-remaining-requests"), Some("0"));
    assert_eq!(body["error"]["code"], "quota_exceeded");
    assert_eq!(body["error"]["limit"]["per"], "day");
    assert_eq!(stage.counts(Measure::Requests).0, 2);
}

#[tokio::test]
async fn each_kind_of_limit_refuses_with_its_code_and_its_way_to_wait() {
    let cases = [
        (limit(Measure::Requests, Some(Per::Minute), 1), "rate_limit_exceeded", Some("60"), None),
        (limit(Measure::Requests, Some(Per::Hour), 1), "rate_limit_exceeded", Some("3600"), Some("false")),
        (limit(Measure::Requests, Some(Per::Day), 1), "quota_exceeded", Some("57600"), Some("false")),
        (limit(Measure::Requests, Some(Per::Total), 1), "quota_exceeded", None, Some("false")),
        (limit(Measure::Requests, Some(Per::Second), 0), "rate_limit_exceeded", None, Some("false")),
        (limit(Measure::Concurrency, None, 0), "concurrency_exceeded", None, Some("false")),
        (limit(Measure::Spend, Some(Per::Total), 0), "spend_cap_exceeded", None, Some("false")),
    ];
    for (limit, code, wait, retry) in cases {
        let stage = stage([limit]);
        let (mut status, mut headers, mut body) = send(&stage.layer, post()).await;
        if status == 200 {
            (status, headers, body) = send(&stage.layer, post()).await;
        }
        assert_eq!((status.as_u16(), body["error"]["code"].as_str()), (429, Some(code)));
        assert_eq!(text(&headers, "retry-after"), wait, "{code}");
        assert_eq!(text(&headers, "x-should-retry"), retry, "{code}");
    }
}

#[tokio::test]
async fn a_taken_slot_says_come_again_in_a_second_without_a_promise() {
    let stage = stage([limit(Measure::Concurrency, None, 1)]);
    let inner = service_fn(|_: Request<()>| pending::<Result<Response<Full<Bytes>>, Infallible>>());
    let mut running = tokio_test::task::spawn(stage.layer.layer(inner).oneshot(post()));
    assert!(running.poll().is_pending());
    let (status, headers, body) = send(&stage.layer, post()).await;
    assert_eq!((status.as_u16(), body["error"]["code"].as_str()), (429, Some("concurrency_exceeded")));
    assert_eq!((text(&headers, "retry-after"), text(&headers, "x-should-retry")), (Some("1"), None));
    drop(running);
    assert_eq!(send(&stage.layer, post()).await.0, 200);
}

#[derive(Clone, Debug, Default)]
struct Broken {
    missed: Arc<AtomicUsize>,
}

impl QuotaStore for Broken {
    fn reserve(&self, _: Reservation) -> StoreFuture<StoreResult<Decision>> {
        StoreFuture::ready(Err(StoreError::unavailable("down")))
    }

    fn keep(&self, _: Vec<LastingHold>, _: Duration) -> StoreFuture<StoreResult<()>> {
        StoreFuture::ready(Err(StoreError::unavailable("down")))
    }

    fn settle(&self, _: LastingHold, _: Option<Amounts>) -> StoreFuture<StoreResult<()>> {
        StoreFuture::ready(Err(StoreError::unavailable("down")))
    }

    fn state(&self, _: Vec<Arc<Limit>>, _: Timestamp) -> StoreFuture<StoreResult<Vec<LimitState>>> {
        StoreFuture::ready(Err(StoreError::unavailable("down")))
    }

    fn missed(&self, limits: &[Arc<Limit>]) {
        self.missed.fetch_add(limits.len(), Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_closes_what_is_closed_and_spend_and_totals_always() {
    use OnStoreFailure::{Closed, Open};
    let own = |policy| {
        let mut own = limit(Measure::Requests, Some(Per::Minute), 5);
        own.on_store_failure = Some(policy);
        own
    };
    let plain = || limit(Measure::Requests, Some(Per::Minute), 5);
    let total = || limit(Measure::Requests, Some(Per::Total), 5);
    for (limits, default, status) in [
        (vec![plain()], Closed, 500),
        (vec![plain()], Open, 200),
        (vec![own(Open)], Closed, 200),
        (vec![own(Closed)], Open, 500),
        (vec![plain(), total()], Open, 500),
        (vec![limit(Measure::Spend, Some(Per::Day), 5)], Open, 500),
        (vec![shadow(total())], Closed, 200),
        (vec![], Closed, 200),
    ] {
        let book = Arc::new(LimitBook::new(limits.clone()).unwrap());
        let layer = QuotaLayer::new(Broken::default(), book).on_store_failure(default);
        let (got, headers, body) = send(&layer, post()).await;
        assert_eq!(got, status, "{limits:?}");
        if status == 500 {
            assert_eq!(body["error"]["code"], "quota_unavailable");
            assert_eq!((text(&headers, "retry-after"), text(&headers, "x-should-retry")), (Some("1"), None));
        }
    }
}

#[tokio::test]
async fn what_was_admitted_without_the_store_is_counted_later_once_it_is_over() {
    let mut open = limit(Measure::Requests, Some(Per::Day), 5);
    open.on_store_failure = Some(OnStoreFailure::Open);
    let store = Broken::default();
    let layer = QuotaLayer::new(store.clone(), Arc::new(LimitBook::new([open]).unwrap()));
    let inner = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Full::from("hello"))) });
    let response = layer.layer(inner).oneshot(post()).await.unwrap();
    assert_eq!(store.missed.load(Ordering::Relaxed), 0, "it still runs");
    response.into_body().collect().await.unwrap();
    assert_eq!(store.missed.load(Ordering::Relaxed), 1);
}

fn priced(price: Price, ceiling: Option<u64>) -> Option<Arc<ModelTerms>> {
    let mut terms = ModelTerms::new("m", Modality::Text);
    (terms.price, terms.max_output_tokens, terms.max_reasoning_tokens) = (price, ceiling, 7);
    Some(Arc::new(terms))
}

fn tokens() -> Price {
    let (input, output) = (Rate::per_million("1").ok(), Rate::per_million("2").ok());
    Price::flat(Rates { input, output, ..Rates::default() })
}

fn at<T>(value: T) -> Option<Located<T>> {
    Some(Located { value, at: 0..0 })
}

fn facts() -> Facts {
    Facts { model: at("m".to_owned()), body_bytes: 1_000, ..Facts::default() }
}

#[tokio::test]
async fn the_bound_that_is_held_reaches_the_route_and_the_truth_is_posted() {
    let stage = stage([limit(Measure::Tokens, Some(Per::Day), 10_000)]);
    let seen = Arc::new(Mutex::new(None));
    let inner = {
        let seen = Arc::clone(&seen);
        service_fn(move |request: Request<()>| {
            *seen.lock().unwrap() = request.extensions().get::<Call>().and_then(Call::output_bound);
            let meter = request.extensions().get::<Meter>().unwrap();
            meter.call().unwrap();
            meter.report(Usage { input_tokens: 11, output_tokens: 22, ..Usage::NONE });
            async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("x"))) }
        })
    };
    let mut request = post();
    let call = Call::new(Endpoint::ChatCompletions, facts(), Segments::default(), priced(tokens(), Some(500)));
    request.extensions_mut().insert(call);
    let response = stage.layer.layer(inner).oneshot(request).await.unwrap();
    assert_eq!(text(response.headers(), "x-ratelimit-remaining-tokens"), Some("8493"));
    assert_eq!(stage.counts(Measure::Tokens), (0, 1_000 + 507));
    response.into_body().collect().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), Some(500));
    assert_eq!(stage.counts(Measure::Tokens), (33, 0));
}

#[test]
fn the_layer_its_service_and_its_future_can_be_sent_and_shared() {
    fn is_send_sync<T: Send + Sync>() {}
    fn is_send<T: Send>(_: &T) {}
    is_send_sync::<QuotaLayer>();
    is_send_sync::<QuotaService<()>>();
    let stage = stage([]);
    let inner = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
    is_send(&stage.layer.layer(inner).oneshot(post()));
}
