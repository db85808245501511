//! What governance costs a request: the layers around a service that is ready at once, with memory stores and four limits
//! on the caller. The aim for auth, metering and quota together: under 3 µs and under 10 allocations.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use futures_util::FutureExt as _;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use kancy::domain::modality::Modality;
use kancy::{
    AuthLayer, Catalog, InspectLayer, KeyAdmin, Limit, LimitBook, LimitKey, Measure, MemoryKeys, MemoryLedger,
    MemoryQuota, MeteringLayer, ModelTerms, NewKey, Per, QuotaLayer, Timestamp,
};
use tower::{Layer, Service, service_fn};

mod support;

const BODY: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}],"max_tokens":256}"#;

/// Keys, ledger, counters and limits, all in memory.
struct Stores {
    keys: Arc<MemoryKeys>,
    quota: MemoryQuota,
    limits: Arc<LimitBook>,
    bearer: HeaderValue,
}

impl Stores {
    fn new() -> Self {
        let key =
            NewKey::new("acme", "site").and_then(|key| key.team("web")).and_then(|key| key.environment("production"));
        let (minted, record) = key.expect("the names are good").mint(Timestamp::EPOCH);
        let limit = |scope: String, measure, per| {
            let key = LimitKey { scope: scope.parse().expect("a scope"), modality: None, model: None, measure, per };
            Limit::new(key, 1 << 60)
        };
        let limits = LimitBook::new([
            limit("workspace:acme".to_owned(), Measure::Requests, Some(Per::Minute)),
            limit("team:acme/web".to_owned(), Measure::Tokens, Some(Per::Minute)),
            limit("project:acme/site".to_owned(), Measure::Spend, Some(Per::Month)),
            limit(format!("key:{}", record.id), Measure::Concurrency, None),
        ]);
        let keys = Arc::new(MemoryKeys::new());
        keys.insert(record).now_or_never().expect("memory is ready").expect("the key is new");
        let bearer = HeaderValue::try_from(format!("Bearer {}", minted.text.expose())).expect("ASCII");
        Self { keys, quota: MemoryQuota::new(), limits: Arc::new(limits.expect("each limit once")), bearer }
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::post("/v1/chat/completions").body(Full::from(BODY)).expect("a request");
        let headers = request.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("authorization", self.bearer.clone());
        request
    }

    fn auth(&self) -> AuthLayer {
        AuthLayer::new(Arc::clone(&self.keys))
    }

    fn metering(&self) -> MeteringLayer {
        MeteringLayer::new(MemoryLedger::new().keep(1_000))
    }

    fn quota(&self) -> QuotaLayer {
        QuotaLayer::new(self.quota.clone(), Arc::clone(&self.limits))
    }
}

/// One model.
#[derive(Debug)]
struct One(Arc<ModelTerms>);

impl Catalog for One {
    fn terms(&self, id: &str) -> Option<Arc<ModelTerms>> {
        (id == &*self.0.id).then(|| Arc::clone(&self.0))
    }
}

fn catalog() -> One {
    let mut terms = ModelTerms::new("gpt-4o", Modality::Text);
    terms.price = kancy::domain::price::Price::Free;
    One(Arc::new(terms))
}

/// The inner service: an answer with nothing to wait for.
fn ready<B>() -> impl Service<Request<B>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send> + Clone {
    service_fn(|_: Request<B>| std::future::ready(Ok(Response::new(Full::from("{}")))))
}

/// One request, to the last byte of its answer.
fn run<S, B>(service: &mut S, request: Request<Full<Bytes>>)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes, Error = Infallible>,
{
    let Some(Ok(response)) = service.call(request).now_or_never() else { panic!("the stack is not ready") };
    assert!(response.status().is_success(), "{}", response.status());
    let Some(Ok(body)) = response.into_body().collect().now_or_never() else { panic!("the body is not ready") };
    black_box(body);
}

/// Gives the allocations that a request made.
fn measure<S, B>(c: &mut Criterion, name: &str, stores: &Stores, mut service: S) -> f64
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes, Error = Infallible>,
{
    const REQUESTS: usize = 2_000;
    let requests = || -> Vec<_> { (0..REQUESTS).map(|_| stores.request()).collect() };
    requests().into_iter().for_each(|request| run(&mut service, request));
    let batch = requests();
    let (calls, _) = support::allocations(|| batch.into_iter().for_each(|request| run(&mut service, request)));
    let allocations = calls as f64 / REQUESTS as f64;
    println!("{name}: {allocations:.2} allocations a request");
    c.bench_function(name, |b| b.iter_batched(|| stores.request(), |r| run(&mut service, r), BatchSize::LargeInput));
    allocations
}

fn main() {
    let c = &mut Criterion::default().configure_from_args().measurement_time(Duration::from_secs(2));
    let c = &mut std::mem::take(c).warm_up_time(Duration::from_millis(500));
    let stores = Stores::new();
    measure(c, "bare", &stores, ready());
    measure(c, "auth", &stores, stores.auth().layer(ready()));
    measure(c, "auth+metering", &stores, stores.auth().layer(stores.metering().layer(ready())));
    measure(c, "auth+quota", &stores, stores.auth().layer(stores.quota().layer(ready())));
    let three = stores.auth().layer(stores.metering().layer(stores.quota().layer(ready())));
    let allocations = measure(c, "auth+metering+quota", &stores, three);
    assert!(allocations < 10.0, "the three layers allocate {allocations} times a request");
    let inspect = InspectLayer::new().catalog(catalog());
    let four = stores.auth().layer(stores.metering().layer(inspect.layer(stores.quota().layer(ready()))));
    measure(c, "auth+metering+inspect+quota", &stores, four);
    c.final_summary();
}
