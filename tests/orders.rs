//! The layers in orders that nobody recommends, and hosts that make more of them than one call: books and limits agree.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kancy::domain::limit::{Amounts, Limit, LimitKey, Measure, Per, Scope};
use kancy::domain::modality::Modality;
use kancy::domain::model::ModelTerms;
use kancy::domain::name::Name;
use kancy::domain::price::{Price, Rates};
use kancy::inspect::InspectLayer;
use kancy::provider::codec::codec;
use kancy::provider::kind::Kind;
use kancy::provider::traits::{Credential, Target};
use kancy::quota::QuotaLayer;
use kancy::store::memory::quota::MemoryQuota;
use kancy::store::quota::QuotaStore;
use kancy::{
    AuthLayer, Caller, Clock, Gateway, KeyAdmin, LimitBook, ManualClock, MemoryKeys, MemoryLedger, Meter,
    MeteringLayer, Money, NewKey, Outcome, Page, ProviderRouteService, Rate, Registry, Secret, StoreFuture, Timestamp,
    Usage, UsageRecord, UsageSink, UsageStore,
};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;
type Boxed = tower::util::BoxCloneService<Request<Body>, Response<Body>, BoxError>;

const CHAT: &str = r#"{"model":"chat","messages":[{"role":"user","content":"Hello"}]}"#;
const ANSWER: &str = r#"{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}"#;
/// Ten input tokens at a dollar a million, five output tokens at two.
const COST: u64 = 20_000;

fn body(text: &'static str) -> Body {
    Full::from(text).map_err(|never| match never {}).boxed_unsync()
}

fn boxed<S, B>(service: S) -> Boxed
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let service =
        service.map_response(|response: Response<B>| response.map(|body| body.map_err(Into::into).boxed_unsync()));
    Boxed::new(service.map_err(Into::into))
}

/// Another call in the name of the request that bears these extensions.
fn call(models: &Boxed, extensions: &http::Extensions) -> BoxFuture<Result<Response<Body>, BoxError>> {
    let mut call = Request::post("/v1/chat/completions").body(body(CHAT)).unwrap();
    *call.extensions_mut() = extensions.clone();
    Box::pin(models.clone().oneshot(call))
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Polls it once.
async fn is_pending<T>(future: &mut BoxFuture<T>) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

/// Everything that the layers share, and a caller's key.
struct Stage {
    keys: Arc<MemoryKeys>,
    key: Secret,
    ledger: Arc<MemoryLedger>,
    quota: Arc<MemoryQuota>,
    book: Arc<LimitBook>,
}

impl Stage {
    /// Under these limits of the caller's workspace.
    async fn new(limits: &[(Measure, u64)]) -> Self {
        let keys = Arc::new(MemoryKeys::new());
        let (minted, record) = NewKey::new("acme", "site").unwrap().mint(Timestamp::from_secs(1));
        keys.insert(record).await.unwrap();
        let scope = Scope::Workspace(Name::new("acme").unwrap());
        let key =
            |measure| LimitKey { scope: scope.clone(), modality: None, model: None, measure, per: Some(Per::Total) };
        let limits = limits.iter().map(|(measure, amount)| Limit::new(key(*measure), *amount));
        let book = Arc::new(LimitBook::new(limits).unwrap());
        let (ledger, quota) = (Arc::new(MemoryLedger::new()), Arc::new(MemoryQuota::new()));
        Self { keys, key: minted.text, ledger, quota, book }
    }

    fn auth(&self, inner: Boxed) -> Boxed {
        boxed(AuthLayer::new(Arc::clone(&self.keys)).layer(inner))
    }

    fn metering(&self, inner: Boxed) -> Boxed {
        boxed(MeteringLayer::new(Arc::clone(&self.ledger)).layer(inner))
    }

    fn quota(&self, inner: Boxed) -> Boxed {
        boxed(QuotaLayer::new(Arc::clone(&self.quota), Arc::clone(&self.book)).layer(inner))
    }

    fn inspect(&self, inner: Boxed) -> Boxed {
        let inner = inner.map_request(|request: Request<kancy::http::body::CallBody>| {
            request.map(|body| body.map_err(|never| match never {}).boxed_unsync())
        });
        boxed(InspectLayer::new().catalog(registry()).layer(inner))
    }

    fn request(&self, path: &str, body: Body) -> Request<Body> {
        let request = Request::post(path).header("authorization", format!("Bearer {}", self.key.expose()));
        request.body(body).unwrap()
    }

    async fn chat(&self, stack: &Boxed) -> StatusCode {
        self.ask(stack, "/v1/chat/completions", CHAT).await
    }

    async fn ask(&self, stack: &Boxed, path: &str, text: &'static str) -> StatusCode {
        let response = stack.clone().oneshot(self.request(path, body(text))).await.unwrap();
        let status = response.status();
        response.into_body().collect().await.unwrap();
        status
    }

    async fn records(&self) -> Vec<UsageRecord> {
        self.ledger.records(Default::default(), Page { after: None, limit: 100 }).await.unwrap().items
    }

    /// What the first limit's counter has posted, and what it holds.
    async fn counted(&self) -> (u64, u64) {
        let limits = self.book.all();
        let state = self.quota.state(vec![Arc::clone(&limits[0])], Timestamp::from_secs(2)).await.unwrap();
        (state[0].used, state[0].reserved)
    }
}

fn registry() -> Registry {
    let mut terms = ModelTerms::new("chat", Modality::Text);
    let rates = Rates { input: Rate::per_million("1").ok(), output: Rate::per_million("2").ok(), ..Rates::default() };
    terms.price = Price::flat(rates);
    terms.max_output_tokens = Some(100);
    let codec = codec(Kind::OpenAiCompatible);
    let url = "http://vendor.test/v1".parse().unwrap();
    Registry::new([Target::new(terms, "vendor", codec, url, Arc::new(Credential::None))]).unwrap()
}

/// The route to a vendor that answers with these statuses, one after the other; 0 never answers, and the last goes on.
fn route(statuses: &'static [u16]) -> Boxed {
    let calls = Arc::new(AtomicUsize::new(0));
    let vendor = service_fn(move |_: Request<kancy::http::body::CallBody>| {
        let call = calls.fetch_add(1, Ordering::SeqCst).min(statuses.len() - 1);
        async move {
            if statuses[call] == 0 {
                std::future::pending::<()>().await;
            }
            let text = if statuses[call] == 200 { ANSWER } else { r#"{"error":{"message":"busy"}}"# };
            let response = Response::builder().status(statuses[call]).header("content-type", "application/json");
            Ok::<_, Infallible>(response.body(Full::from(text)).unwrap())
        }
    });
    boxed(ProviderRouteService::new(registry(), vendor))
}

#[tokio::test]
async fn in_whatever_order_they_stand_every_answer_is_on_record_at_its_cost_and_the_limit_knows_it() {
    type Order = fn(&Stage, Boxed) -> Boxed;
    let orders: [(&str, Order); 5] = [
        ("as recommended", |s, r| s.auth(s.metering(s.inspect(s.quota(r))))),
        ("metering inside of inspect", |s, r| s.auth(s.inspect(s.metering(s.quota(r))))),
        ("metering inside of quota", |s, r| s.auth(s.inspect(s.quota(s.metering(r))))),
        ("quota outside of all", |s, r| s.auth(s.quota(s.metering(s.inspect(r))))),
        ("inspect innermost, metering in quota", |s, r| s.auth(s.quota(s.inspect(s.metering(r))))),
    ];
    for (name, order) in orders {
        let stage = Stage::new(&[(Measure::Spend, 1_000_000_000)]).await;
        let stack = order(&stage, route(&[200]));
        for _ in 0..3 {
            assert_eq!(stage.chat(&stack).await, StatusCode::OK, "{name}");
        }
        let records = stage.records().await;
        let costs: Vec<_> = records.iter().map(|r| (r.cost.as_nanos(), r.outcome, r.model.as_deref())).collect();
        assert_eq!(costs, [(COST, Some(Outcome::Completed), Some("chat")); 3], "{name}");
        assert_eq!(stage.counted().await, (3 * COST, 0), "{name}");
    }
}

/// Handles a request by these calls in its name, one after the other, and gives their statuses. `keeps` says what of the
/// request's extensions goes with each call.
fn agent(models: Boxed, calls: usize, keeps: fn(&http::Extensions) -> http::Extensions) -> Boxed {
    boxed(service_fn(move |request: Request<Body>| {
        let (models, extensions) = (models.clone(), request.into_parts().0.extensions);
        async move {
            let mut statuses = String::new();
            for _ in 0..calls {
                let response = call(&models, &keeps(&extensions)).await?;
                statuses += &format!("{} ", response.status().as_u16());
                response.into_body().collect().await?;
            }
            Ok::<_, BoxError>(Response::new(Full::from(statuses)))
        }
    }))
}

/// What a call in a caller's name takes along.
fn the_caller(extensions: &http::Extensions) -> http::Extensions {
    let mut kept = http::Extensions::new();
    kept.insert(extensions.get::<Caller>().unwrap().clone());
    kept
}

impl Stage {
    async fn text(&self, stack: &Boxed) -> String {
        self.text_of(stack, "/agent", "go").await
    }

    async fn text_of_chat(&self, stack: &Boxed) -> String {
        self.text_of(stack, "/v1/chat/completions", CHAT).await
    }

    async fn text_of(&self, stack: &Boxed, path: &str, text: &'static str) -> String {
        let response = stack.clone().oneshot(self.request(path, body(text))).await.unwrap();
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
    }
}

#[tokio::test]
async fn calls_that_a_handler_makes_in_its_callers_name_are_on_record_one_by_one() {
    let stage = Stage::new(&[(Measure::Spend, 1_000_000_000)]).await;
    let auth = AuthLayer::new(Arc::clone(&stage.keys)).pass_known_callers();
    let models = boxed(auth.layer(stage.metering(stage.inspect(stage.quota(route(&[200]))))));
    let stack = stage.auth(stage.metering(agent(models, 3, the_caller)));
    assert_eq!(stage.text(&stack).await, "200 200 200 ");
    let costs: Vec<_> = stage.records().await.iter().map(|r| (r.endpoint.to_string(), r.cost.as_nanos())).collect();
    let call = || ("/v1/chat/completions".to_owned(), COST);
    assert_eq!(costs, [call(), call(), call(), ("/agent".to_owned(), 0)]);
    assert_eq!(stage.counted().await, (3 * COST, 0));
}

#[tokio::test]
async fn a_second_call_on_a_meter_that_follows_one_is_refused_before_it_costs_anything() {
    // One after the other, whatever became of the first one.
    for first in [200, 500, 400] {
        let stage = Stage::new(&[(Measure::Spend, 1_000_000_000)]).await;
        let statuses: &'static [u16] = Box::leak(Box::new([first, 200]));
        let models = stage.inspect(stage.quota(route(statuses)));
        let stack = stage.auth(stage.metering(agent(models, 3, Clone::clone)));
        assert_eq!(stage.text(&stack).await, format!("{first} 500 500 "));
        let records = stage.records().await;
        assert_eq!((records.len(), records[0].cost.as_nanos()), (1, if first == 200 { COST } else { 0 }));
        assert_eq!(stage.counted().await, (records[0].cost.as_nanos(), 0));
    }
    // Side by side.
    let stage = Stage::new(&[(Measure::Spend, 1_000_000_000)]).await;
    let models = stage.inspect(stage.quota(route(&[0])));
    let handler = boxed(service_fn(move |request: Request<Body>| {
        let (models, extensions) = (models.clone(), request.into_parts().0.extensions);
        async move {
            let mut first = call(&models, &extensions);
            assert!(is_pending(&mut first).await);
            assert_eq!(call(&models, &extensions).await?.status(), StatusCode::INTERNAL_SERVER_ERROR);
            drop(first);
            Ok::<_, BoxError>(Response::new(body("done")))
        }
    }));
    let stack = stage.auth(stage.metering(handler));
    assert_eq!(stage.ask(&stack, "/agent", "go").await, StatusCode::OK);
    let records = stage.records().await;
    assert_eq!((records.len(), records[0].code.as_deref(), records[0].estimated), (1, None, true));
    assert!(records[0].cost.as_nanos() > 0);
    assert_eq!(stage.counted().await, (records[0].cost.as_nanos(), 0));
}

/// A ledger that is not ready at once.
#[derive(Debug)]
struct Slow(Arc<MemoryLedger>);

impl UsageSink for Slow {
    fn open(&self, record: &UsageRecord) -> StoreFuture<Result<(), kancy::StoreError>> {
        let opened = self.0.open(record);
        StoreFuture::new(async move {
            tokio::task::yield_now().await;
            opened.await
        })
    }

    fn record(&self, record: UsageRecord) -> StoreFuture<Result<(), kancy::StoreError>> {
        self.0.record(record)
    }
}

#[tokio::test]
async fn the_same_call_goes_to_its_vendor_once_however_long_the_ledger_takes() {
    let stage = Stage::new(&[(Measure::Spend, 1_000_000_000)]).await;
    let models = stage.quota(route(&[200]));
    let hedge = boxed(service_fn(move |request: Request<Body>| {
        let (models, extensions) = (models.clone(), request.into_parts().0.extensions);
        async move {
            let (first, second) = tokio::join!(call(&models, &extensions), call(&models, &extensions));
            assert_eq!(second?.status(), StatusCode::INTERNAL_SERVER_ERROR);
            first
        }
    }));
    let metering = MeteringLayer::new(Slow(Arc::clone(&stage.ledger)));
    let stack = stage.auth(boxed(metering.layer(stage.inspect(hedge))));
    assert_eq!(stage.chat(&stack).await, StatusCode::OK);
    assert_eq!(stage.records().await[0].cost.as_nanos(), COST);
}

#[tokio::test]
async fn nothing_is_sent_for_a_request_that_is_on_record_already() {
    let stage = Stage::new(&[(Measure::Spend, 1_000_000_000)]).await;
    let models = stage.quota(route(&[200]));
    // A host that spawns what it has got: its caller may leave, and it goes on.
    let (tell, told) = std::sync::mpsc::channel();
    let spawning = boxed(service_fn(move |request: Request<Body>| {
        let task = tokio::spawn(models.clone().oneshot(request));
        let _ = tell.send(task);
        std::future::pending::<Result<Response<Body>, BoxError>>()
    }));
    let metering = MeteringLayer::new(Slow(Arc::clone(&stage.ledger)));
    let stack = stage.auth(boxed(metering.layer(stage.inspect(spawning))));
    let mut left: BoxFuture<_> = Box::pin(stack.oneshot(stage.request("/v1/chat/completions", body(CHAT))));
    assert!(is_pending(&mut left).await);
    drop(left);
    let answer = told.recv().unwrap().await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let record = &stage.records().await[0];
    assert_eq!((record.outcome, record.cost.as_nanos()), (Some(Outcome::ClientClosed), 0));
    assert_eq!(stage.counted().await, (0, 0));
}

#[tokio::test]
async fn a_bound_that_was_held_is_sent_however_often_the_body_is_read() {
    let stage = Stage::new(&[(Measure::Spend, 1_000_000_000)]).await;
    let sent: Arc<Mutex<Vec<u8>>> = Arc::default();
    let seen = Arc::clone(&sent);
    let vendor = service_fn(move |request: Request<kancy::http::body::CallBody>| {
        let seen = Arc::clone(&seen);
        async move {
            *seen.lock().unwrap() = request.into_body().collect().await.unwrap().to_bytes().into();
            Ok::<_, Infallible>(Response::new(Full::from(ANSWER)))
        }
    });
    let route = boxed(ProviderRouteService::new(registry(), vendor));
    let stack = stage.auth(stage.metering(stage.inspect(stage.quota(stage.inspect(route)))));
    assert_eq!(stage.chat(&stack).await, StatusCode::OK);
    let sent = String::from_utf8(sent.lock().unwrap().clone()).unwrap();
    assert!(sent.contains(r#""max_tokens":100"#), "{sent}");
}

#[tokio::test]
async fn a_retry_below_the_meter_is_refused_and_one_above_it_has_records_of_its_own() {
    let stage = Stage::new(&[(Measure::Spend, 1_000_000_000)]).await;
    let below = agent(stage.quota(route(&[500, 200])), 2, Clone::clone);
    assert_eq!(stage.text_of_chat(&stage.auth(stage.metering(stage.inspect(below)))).await, "500 500 ");
    let record = &stage.records().await[0];
    assert_eq!((record.outcome, record.cost.as_nanos()), (Some(Outcome::ProviderFailed), 0));
    assert_eq!(stage.counted().await, (0, 0));

    let stage = Stage::new(&[(Measure::Spend, 1_000_000_000)]).await;
    let above = agent(stage.metering(stage.inspect(stage.quota(route(&[500, 200])))), 2, Clone::clone);
    assert_eq!(stage.text_of_chat(&stage.auth(above)).await, "500 200 ");
    let outcomes: Vec<_> = stage.records().await.iter().map(|r| (r.outcome.unwrap(), r.cost.as_nanos())).collect();
    assert_eq!(outcomes, [(Outcome::Completed, COST), (Outcome::ProviderFailed, 0)]);
    assert_eq!(stage.counted().await, (COST, 0));
}

#[tokio::test]
async fn what_is_not_known_beforehand_bounds_no_estimate() {
    let stage = Stage::new(&[(Measure::Spend, 1_000_000_000)]).await;
    let stack = stage.auth(stage.quota(stage.metering(stage.inspect(route(&[0])))));
    let mut left: BoxFuture<_> = Box::pin(stack.oneshot(stage.request("/v1/chat/completions", body(CHAT))));
    assert!(is_pending(&mut left).await);
    drop(left);
    let record = &stage.records().await[0];
    assert_eq!(
        (record.outcome, record.usage.input_tokens),
        (Some(Outcome::ClientClosed), CHAT.len().div_ceil(3) as u64)
    );
    assert_eq!(stage.counted().await, (record.cost.as_nanos(), 0));
}

#[tokio::test]
async fn a_vendor_that_the_hosts_own_time_limit_gave_up_on_is_booked_by_estimate() {
    let stage = Stage::new(&[(Measure::Spend, 1_000_000_000)]).await;
    let limited = boxed(service_fn(move |request: Request<Body>| {
        let mut call: BoxFuture<_> = Box::pin(route(&[0]).oneshot(request));
        async move {
            assert!(is_pending(&mut call).await);
            Ok::<_, BoxError>(Response::builder().status(408).body(body("too slow"))?)
        }
    }));
    let stack = stage.auth(stage.metering(stage.inspect(stage.quota(limited))));
    assert_eq!(stage.chat(&stack).await, StatusCode::REQUEST_TIMEOUT);
    let record = &stage.records().await[0];
    assert_eq!((record.outcome, record.status, record.estimated), (Some(Outcome::Failed), Some(408), true));
    assert!(record.cost.as_nanos() > 0);
    assert_eq!(stage.counted().await, (record.cost.as_nanos(), 0));
}

/// A handler that uses three pictures, at a cent.
fn pictures() -> Boxed {
    boxed(service_fn(|request: Request<Body>| async move {
        let used = Usage { images: 3, ..Usage::NONE };
        assert!(request.extensions().get::<Meter>().unwrap().add_at(used, Money::from_nanos(10_000_000)));
        Ok::<_, BoxError>(Response::new(body("done")))
    }))
}

#[tokio::test]
async fn a_limit_that_a_route_of_ones_own_has_used_up_refuses_it() {
    for (measure, amount, answered) in
        [(Measure::Requests, 4, 4), (Measure::Spend, 25_000_000, 3), (Measure::Tokens, 9, 5), (Measure::Images, 0, 5)]
    {
        let stage = Stage::new(&[(measure, amount)]).await;
        let stack = stage.auth(stage.metering(stage.quota(pictures())));
        let mut passed = 0;
        for _ in 0..5 {
            passed += usize::from(stage.ask(&stack, "/pictures", "go").await == StatusCode::OK);
        }
        assert_eq!(passed, answered, "{measure:?} {amount}");
    }
}

#[tokio::test]
async fn a_route_of_ones_own_that_says_what_it_may_come_to_never_goes_past_its_limit() {
    let stage = Stage::new(&[(Measure::Images, 7)]).await;
    let most = Amounts { images: 3, ..Amounts::ONE_REQUEST };
    let quota = QuotaLayer::new(Arc::clone(&stage.quota), Arc::clone(&stage.book)).at_most(most);
    let stack = stage.auth(stage.metering(boxed(quota.layer(pictures()))));
    for status in [200, 200, 429] {
        assert_eq!(stage.ask(&stack, "/pictures", "go").await.as_u16(), status);
    }
    assert_eq!(stage.counted().await, (6, 0));
}

#[tokio::test]
async fn a_caller_who_is_known_passes_where_that_is_asked_for_and_a_wrong_key_does_not() {
    let stage = Stage::new(&[]).await;
    let handler = boxed(service_fn(|request: Request<Body>| async move {
        assert!(request.extensions().get::<Caller>().is_some());
        Ok::<_, BoxError>(Response::new(body("done")))
    }));
    let twice = stage.auth(stage.auth(handler.clone()));
    assert_eq!(stage.ask(&twice, "/x", "").await, StatusCode::UNAUTHORIZED, "the key was taken out");
    let auth = || AuthLayer::new(Arc::clone(&stage.keys)).pass_known_callers();
    let stack = stage.auth(boxed(auth().layer(handler.clone())));
    assert_eq!(stage.ask(&stack, "/x", "").await, StatusCode::OK);
    let stack = boxed(auth().layer(handler.clone()));
    let nobody = Request::post("/x").body(body("")).unwrap();
    assert_eq!(stack.clone().oneshot(nobody).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let with_another_key = boxed(
        ServiceBuilder::new()
            .map_request(|mut request: Request<Body>| {
                request.headers_mut().insert("authorization", "Bearer kancy_wrong".parse().unwrap());
                request
            })
            .service(boxed(auth().layer(handler))),
    );
    assert_eq!(stage.ask(&stage.auth(with_another_key), "/x", "").await, StatusCode::UNAUTHORIZED);
}

#[derive(Debug)]
struct Panics;

impl UsageSink for Panics {
    fn open(&self, _: &UsageRecord) -> StoreFuture<Result<(), kancy::StoreError>> {
        StoreFuture::ready(Ok(()))
    }

    fn record(&self, _: UsageRecord) -> StoreFuture<Result<(), kancy::StoreError>> {
        panic!("the sink panics")
    }
}

#[tokio::test]
async fn a_sink_that_panics_takes_neither_the_answer_nor_the_process() {
    let stage = Stage::new(&[]).await;
    let over = |handler: Boxed| stage.auth(boxed(MeteringLayer::new(Panics).layer(handler)));
    assert_eq!(stage.ask(&over(pictures()), "/pictures", "go").await, StatusCode::OK);
    let panicking = boxed(service_fn(|_: Request<Body>| async move {
        if true {
            panic!("the handler panics");
        }
        Ok::<_, BoxError>(Response::new(body("")))
    }));
    let request = over(panicking).oneshot(stage.request("/x", body("")));
    assert!(tokio::spawn(request).await.unwrap_err().is_panic());
}

#[tokio::test]
async fn units_that_come_after_the_answer_are_said_to_count_nowhere() {
    let stage = Stage::new(&[]).await;
    let kept: Arc<Mutex<Option<Meter>>> = Arc::default();
    let keep = Arc::clone(&kept);
    let handler = boxed(service_fn(move |request: Request<Body>| {
        *keep.lock().unwrap() = request.extensions().get::<Meter>().cloned();
        async { Ok::<_, BoxError>(Response::new(body("done"))) }
    }));
    assert_eq!(stage.ask(&stage.auth(stage.metering(handler)), "/x", "").await, StatusCode::OK);
    assert!(!kept.lock().unwrap().take().unwrap().add(Usage { images: 1, ..Usage::NONE }));
}

#[tokio::test]
async fn a_gateways_clock_is_that_of_its_keys() {
    let clock = ManualClock::at(Timestamp::from_secs(1_000));
    let keys = MemoryKeys::new();
    let soon = Timestamp::from_secs(2_000);
    let (minted, record) = NewKey::new("acme", "site").unwrap().expires_at(soon).mint(clock.now());
    keys.insert(record).await.unwrap();
    let vendor = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::new()))) });
    let gateway = Gateway::builder(Registry::offline(), vendor).keys(keys).clock(clock).build();
    let request = Request::get("/v1/models").header("authorization", format!("Bearer {}", minted.text.expose()));
    let response = gateway.oneshot(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}
