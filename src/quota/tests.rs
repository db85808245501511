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
use crate::domain::limit::{Amounts, Limit, LimitKey, Measure, Mode, OnStoreFailure, Per};
use crate::domain::limit_book::LimitBook;
use crate::domain::modality::Modality;
use crate::domain::model::ModelTerms;
use crate::domain::name::Name;
use crate::domain::price::{Price, Rates};
use crate::domain::usage::Usage;
use crate::http::body::Segments;
use crate::http::call::{Call, Facts, Located};
use crate::http::meter::{Abandoned, Meter};
use crate::store::error::{StoreError, StoreResult};
use crate::store::memory::quota::MemoryQuota;
use crate::store::quota::{Decision, LimitState, QuotaStore, Reservation};

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

/// How the inner service ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Whole,
    EmptyBody,
    ServiceFails,
    BodyFails,
    Panics,
    PanicsWhenCalled,
}

/// Answers after two polls, with three frames, each after a poll.
#[derive(Debug)]
struct Stutter {
    frames: VecDeque<Result<Bytes, &'static str>>,
    hesitates: bool,
}

impl Body for Stutter {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        self.hesitates = !self.hesitates;
        if self.hesitates {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.frames.pop_front().map(|f| f.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }
}

async fn answer(request: Request<()>, end: End) -> Result<Response<Stutter>, &'static str> {
    tokio::task::yield_now().await;
    let meter = request.extensions().get::<Meter>().unwrap();
    meter.add(Usage { input_tokens: 3, ..Usage::NONE });
    let frames = match end {
        End::Panics => panic!("the inner service panics"),
        End::ServiceFails => return Err("the inner service fails"),
        End::EmptyBody => vec![],
        End::BodyFails => vec![Ok("a".into()), Err("the body fails")],
        End::Whole | End::PanicsWhenCalled => vec![Ok("a".into()), Ok("b".into()), Ok("c".into())],
    };
    Ok(Response::new(Stutter { frames: frames.into(), hesitates: false }))
}

/// Counts how often grants are settled.
#[derive(Debug)]
struct Counting {
    inner: MemoryQuota,
    settled: Arc<AtomicUsize>,
    /// Answers late, like a store across a network.
    late: bool,
}

struct CountingTicket {
    grant: crate::store::grant::Grant,
    settled: Arc<AtomicUsize>,
}

impl crate::store::grant::Ticket for CountingTicket {
    fn settle(self: Box<Self>, used: Option<Amounts>) {
        self.settled.fetch_add(1, Ordering::SeqCst);
        match used {
            Some(used) => self.grant.settle(used),
            None => self.grant.void(),
        }
    }
}

impl QuotaStore for Counting {
    fn reserve(&self, reservation: Reservation) -> StoreFuture<StoreResult<Decision>> {
        let answer = self.inner.clone();
        let settled = Arc::clone(&self.settled);
        let decide = move || {
            let decision = answer.reserve(reservation).now().ok().unwrap()?;
            Ok(match decision {
                Decision::Admitted { grant, headroom } => {
                    let held = grant.held();
                    let grant = crate::store::grant::Grant::new(held, CountingTicket { grant, settled });
                    Decision::Admitted { grant, headroom }
                }
                refused @ Decision::Refused(_) => refused,
            })
        };
        if !self.late {
            return StoreFuture::ready(decide());
        }
        StoreFuture::new(async move {
            tokio::task::yield_now().await;
            decide()
        })
    }

    fn state(&self, limits: Vec<Arc<Limit>>, now: Timestamp) -> StoreFuture<StoreResult<Vec<LimitState>>> {
        self.inner.state(limits, now)
    }
}

/// Polls future and body at most `polls` times, then drops what is left. Returns whether it came to its end.
fn run<F, B, E>(future: F, polls: usize) -> bool
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    let mut left = polls;
    let mut future = tokio_test::task::spawn(Box::pin(future));
    let response = loop {
        if left == 0 {
            return false;
        }
        left -= 1;
        if let Poll::Ready(answer) = future.poll() {
            break answer;
        }
    };
    drop(future);
    let Ok(response) = response else { return true };
    let mut body = tokio_test::task::spawn(Box::pin(response.into_body()));
    loop {
        if left == 0 {
            return false;
        }
        left -= 1;
        let frame = body.enter(|cx, mut body| body.as_mut().poll_frame(cx));
        if let Poll::Ready(None | Some(Err(_))) = frame {
            return true;
        }
    }
}

#[test]
fn whatever_ends_a_request_and_whenever_it_is_dropped_its_grant_is_settled_exactly_once() {
    std::panic::set_hook(Box::new(|_| {}));
    let ends = [End::Whole, End::EmptyBody, End::ServiceFails, End::BodyFails, End::Panics, End::PanicsWhenCalled];
    for (end, late) in ends.into_iter().flat_map(|end| [(end, false), (end, true)]) {
        for polls in 0..20 {
            let settled = Arc::new(AtomicUsize::new(0));
            let stage = stage([
                limit(Measure::Concurrency, None, 1),
                limit(Measure::Requests, Some(Per::Day), 1),
                limit(Measure::InputTokens, Some(Per::Total), 100),
            ]);
            let store = Counting { inner: stage.store.clone(), settled: Arc::clone(&settled), late };
            let layer = QuotaLayer::new(store, stage.book.clone()).clock(ManualClock::at(START));
            let inner = service_fn(move |request| {
                assert!(!matches!(end, End::PanicsWhenCalled), "the inner service panics when it is called");
                answer(request, end)
            });
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                run(layer.layer(inner).oneshot(post()), polls)
            }));
            let context = format!("{end:?}, late {late}, {polls} polls");
            let (requests, reserved) = stage.counts(Measure::Requests);
            assert_eq!(reserved, 0, "{context}");
            assert_eq!(settled.load(Ordering::SeqCst) as u64, requests, "{context}");
            assert_eq!(stage.counts(Measure::Concurrency), (0, 0), "{context}");
            if matches!(ran, Ok(true)) {
                assert_eq!((requests, stage.counts(Measure::InputTokens)), (1, (3, 0)), "{context}");
            }
        }
    }
    drop(std::panic::take_hook());
}

#[tokio::test]
async fn a_draining_answer_is_settled_when_the_drain_is_over() {
    let stage = stage([limit(Measure::Concurrency, None, 1), limit(Measure::Requests, Some(Per::Day), 9)]);
    let meter = Meter::new(Abandoned::Seen);
    let mut request = post();
    request.extensions_mut().insert(meter.clone());
    let inner = service_fn(|request: Request<()>| answer(request, End::Whole));
    let response = stage.layer.layer(inner).oneshot(request).await.unwrap();
    meter.drain();
    drop(response);
    assert_eq!(stage.counts(Measure::Concurrency), (0, 1));
    meter.drained();
    assert_eq!(stage.counts(Measure::Concurrency), (0, 0));
    assert_eq!(stage.counts(Measure::Requests), (1, 0));
}

#[tokio::test]
async fn what_the_gateway_refuses_below_consumes_nothing() {
    let stage = stage([limit(Measure::Requests, Some(Per::Day), 9)]);
    let inner = service_fn(|request: Request<()>| async move {
        let meter = request.extensions().get::<Meter>().unwrap();
        meter.fail(&Error::new(Code::ModelNotFound, "no such model"));
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    drop(stage.layer.layer(inner).oneshot(post()).await.unwrap());
    assert_eq!(stage.counts(Measure::Requests), (0, 0));
}

#[derive(Debug)]
struct Broken;

impl QuotaStore for Broken {
    fn reserve(&self, _: Reservation) -> StoreFuture<StoreResult<Decision>> {
        StoreFuture::ready(Err(StoreError::unavailable("down")))
    }

    fn state(&self, _: Vec<Arc<Limit>>, _: Timestamp) -> StoreFuture<StoreResult<Vec<LimitState>>> {
        StoreFuture::ready(Err(StoreError::unavailable("down")))
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
        let layer = QuotaLayer::new(Broken, book).on_store_failure(default);
        let (got, headers, body) = send(&layer, post()).await;
        assert_eq!(got, status, "{limits:?}");
        if status == 500 {
            assert_eq!(body["error"]["code"], "quota_unavailable");
            assert_eq!((text(&headers, "retry-after"), text(&headers, "x-should-retry")), (Some("1"), Some("true")));
        }
    }
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

fn reckoned(endpoint: Endpoint, facts: Facts, terms: Option<Arc<ModelTerms>>, limits: &[Limit]) -> Result<Hold, Error> {
    let call = Call::new(endpoint, facts, Segments::default(), terms);
    hold::reckon(&call, &limits.iter().cloned().map(Arc::new).collect::<Vec<_>>())
}

fn spend() -> Vec<Limit> {
    vec![limit(Measure::Spend, Some(Per::Month), 1_000_000_000)]
}

#[test]
fn a_chat_holds_its_text_its_parts_and_every_choice_at_its_bound() {
    let facts = Facts {
        media_bytes: 400,
        media_parts: 2,
        n: at(3),
        max_tokens: at(100),
        max_completion_tokens: at(50),
        ..facts()
    };
    let hold = reckoned(Endpoint::ChatCompletions, facts, priced(tokens(), Some(4_096)), &spend()).unwrap();
    assert_eq!(hold.amounts.input_tokens, 600 + 2 * 50_000);
    assert_eq!(hold.amounts.output_tokens, (50 + 7) * 3);
    assert_eq!(hold.amounts.spend, Money::from_nanos(100_600 * 1_000 + 171 * 2_000));
    assert_eq!(hold.output_bound, Some(50));
}

#[test]
fn without_a_bound_of_the_callers_the_models_ceiling_is_held_and_sent() {
    let hold = reckoned(Endpoint::ChatCompletions, facts(), priced(tokens(), Some(4_096)), &spend()).unwrap();
    assert_eq!((hold.amounts.output_tokens, hold.output_bound), (4_096 + 7, Some(4_096)));
    let huge = Facts { max_tokens: at(u64::MAX), ..facts() };
    let hold = reckoned(Endpoint::ChatCompletions, huge, priced(tokens(), Some(4_096)), &spend()).unwrap();
    assert_eq!(hold.output_bound, Some(4_096));
}

#[test]
fn absurd_numbers_saturate() {
    let facts = Facts { n: at(u64::MAX), max_tokens: at(u64::MAX), ..facts() };
    let hold = reckoned(Endpoint::ChatCompletions, facts, priced(tokens(), None), &spend()).unwrap();
    assert_eq!(hold.amounts.output_tokens, u64::MAX);
    assert_eq!(hold.amounts.spend, Money::from_nanos(u64::MAX));
}

#[test]
fn what_has_no_bound_or_no_price_is_refused_under_enforced_limits_alone() {
    let tokens_limit = || vec![limit(Measure::Tokens, Some(Per::Minute), 1_000)];
    let chat = Endpoint::ChatCompletions;
    let unbounded = || Facts { unbounded: Some("web_search_options".to_owned()), max_tokens: at(5), ..facts() };
    let bounded = || Facts { max_tokens: at(5), ..facts() };
    let image_only = || Price::flat(Rates { per_image: Rate::per_unit("0.01").ok(), ..Rates::default() });
    let cases = [
        (chat, unbounded(), priced(tokens(), None), spend(), Code::UnsupportedParameter, "web_search_options"),
        (chat, unbounded(), priced(tokens(), None), tokens_limit(), Code::UnsupportedParameter, "web_search_options"),
        (chat, facts(), priced(tokens(), None), tokens_limit(), Code::InvalidParameter, "max_tokens"),
        (chat, facts(), priced(tokens(), None), spend(), Code::InvalidParameter, "max_tokens"),
        (Endpoint::Responses, facts(), priced(tokens(), None), spend(), Code::InvalidParameter, "max_output_tokens"),
        (chat, Facts { n: at(0), ..bounded() }, priced(tokens(), None), spend(), Code::InvalidParameter, "n"),
        (chat, Facts { max_tokens: at(0), ..facts() }, priced(tokens(), None), spend(), Code::InvalidParameter, "max_tokens"),
        (chat, bounded(), priced(Price::Unpriced, None), spend(), Code::ModelNotPriced, "model"),
        (chat, bounded(), priced(image_only(), None), spend(), Code::ModelNotPriced, "model"),
        (chat, bounded(), None, spend(), Code::ModelNotPriced, "model"),
        (Endpoint::VideoGenerations, facts(), priced(tokens(), Some(9)), spend(), Code::MissingParameter, "duration"),
    ];
    for (endpoint, facts, terms, limits, code, param) in cases {
        let error = reckoned(endpoint, facts.clone(), terms.clone(), &limits).unwrap_err();
        assert_eq!((error.code(), error.param_name()), (code, Some(param)));
        let shadows: Vec<_> = limits.into_iter().map(shadow).collect();
        let hold = reckoned(endpoint, facts, terms, &shadows).unwrap();
        assert_eq!(hold.output_bound, None, "a shadow limit changes nothing that is sent");
    }
}

#[test]
fn a_free_model_needs_no_bound_under_a_spend_limit() {
    let hold = reckoned(Endpoint::ChatCompletions, facts(), priced(Price::Free, None), &spend()).unwrap();
    assert_eq!((hold.amounts.spend, hold.output_bound), (Money::ZERO, None));
}

#[test]
fn media_hold_the_units_that_they_are_priced_by() {
    let per = |set: fn(&mut Rates)| {
        let mut rates = Rates::default();
        set(&mut rates);
        priced(Price::flat(rates), None)
    };
    let cent = || Rate::per_unit("0.01").ok();
    let held = |endpoint, facts, terms| reckoned(endpoint, facts, terms, &spend()).unwrap().amounts;

    let images = held(Endpoint::ImageGenerations, Facts { n: at(4), ..facts() }, per(|r| r.per_image = Rate::per_unit("0.01").ok()));
    assert_eq!((images.images, images.spend.as_nanos(), images.input_tokens), (4, 40_000_000, 0));
    let video = Facts { seconds: Some(6), ..facts() };
    let video = held(Endpoint::VideoGenerations, video, per(|r| r.per_video_second = Rate::per_unit("0.01").ok()));
    assert_eq!((video.video_seconds, video.spend.as_nanos()), (6, 60_000_000));
    let speech = Facts { input_chars: Some(20), ..facts() };
    let speech = held(Endpoint::Speech, speech, per(|r| r.per_character = Rate::per_unit("0.01").ok()));
    assert_eq!((speech.characters, speech.spend.as_nanos()), (20, 200_000_000));
    let upload = held(Endpoint::Transcriptions, facts(), per(|r| r.per_audio_second = Rate::per_unit("0.01").ok()));
    assert_eq!((upload.audio_seconds, upload.spend.as_nanos()), (2, 20_000_000));
    let embedding = held(Endpoint::Embeddings, facts(), per(|r| r.input = Rate::per_unit("0.01").ok()));
    assert_eq!((embedding.input_tokens, embedding.output_tokens), (1_000, 0));
    assert!(cent().is_some());
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
            meter.call();
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
    let _ = Duration::ZERO;
}
