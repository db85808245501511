//! What ten thousand open video jobs cost one instance: the CPU of following them at the default pace, beyond the calls
//! to the vendor themselves, and the memory that each takes. The aims: under 5 % of one core, and under 2 KB a job.
//!
//! Time is simulated, so that ten minutes pass in seconds; the CPU time is the machine's. The vendor lives in this process
//! and answers after 200 ms. "Beyond the calls" is the CPU of the whole less that of a bare loop of as many calls.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use kancy::client::TokioHost;
use kancy::config::Stores;
use kancy::domain::job::Job;
use kancy::http::body::CallBody;
use kancy::jobs::VideoJobs;
use kancy::store::jobs::{JobFilter, JobStore as _};
use kancy::store::memory::jobs::MemoryJobs;
use kancy::{Clock, Config, Gateway, NewKey, Page, Timestamp};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tower::ServiceExt as _;
use tower::util::BoxCloneSyncService;

mod support;

const JOBS: usize = 10_000;
/// So much simulated time is measured.
const SPAN: Duration = Duration::from_secs(600);
const LATENCY: Duration = Duration::from_millis(200);

const CONFIG: &str = r#"
[storage]
url = "memory:"
[providers.gemini]
kind = "gemini"
base_url = "https://gemini.test"
api_key = "gemini-secret"
[providers.kling]
kind = "kling"
base_url = "https://kling.test"
access_key = "ak_test"
secret_key = "kling-secret"
[providers.ark]
kind = "ark"
base_url = "https://ark.test/api/v3"
api_key = "ark-secret"
[[limits]]
scope = "workspace:acme"
measure = "concurrency"
amount = 1000000
[[limits]]
scope = "workspace:acme"
measure = "video_seconds"
amount = 1000000000
per = "month"
"#;

type Client = BoxCloneSyncService<Request<CallBody>, Response<Full<Bytes>>, Infallible>;

/// The runtime's own time, which a paused runtime moves.
#[derive(Debug)]
struct Simulated(Instant);

impl Clock for Simulated {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1_800_000_000).plus(self.0.elapsed())
    }
}

/// A vendor whose jobs run for ever.
fn vendor(calls: &Arc<AtomicU64>) -> Client {
    let calls = Arc::clone(calls);
    let service = tower::service_fn(move |request: Request<CallBody>| {
        let made = calls.fetch_add(1, Ordering::Relaxed);
        async move {
            sleep(LATENCY).await;
            let body = answer(&request, made).to_string();
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(body))))
        }
    });
    Client::new(service)
}

fn answer(request: &Request<CallBody>, made: u64) -> Value {
    let is_create = request.method() == "POST";
    let query = request.uri().query().unwrap_or_default();
    match request.uri().host() {
        Some("gemini.test") if is_create => json!({ "name": format!("models/veo/operations/op{made}") }),
        Some("gemini.test") => json!({ "name": request.uri().path() }),
        Some("kling.test") => {
            let data = json!({ "task_id": format!("{made}"), "task_status": "processing", "created_at": 1_722_769_557_708_u64 });
            json!({ "code": 0, "message": "SUCCEED", "request_id": "r", "data": data })
        }
        _ if is_create => json!({ "id": format!("cgt-{made}") }),
        _ => {
            let ids = query.split('&').filter_map(|pair| pair.strip_prefix("filter.task_ids="));
            let items: Vec<_> = ids.map(|id| json!({ "id": id, "status": "running", "model": "m" })).collect();
            json!({ "total": items.len(), "items": items })
        }
    }
}

/// The CPU time of this thread, which is the only one that works.
fn cpu() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = told.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("this bench reads /proc, so it runs on Linux"))
}

async fn gateway(client: Client) -> (Gateway<Client>, VideoJobs, Stores, HeaderValue) {
    let clock: Arc<dyn Clock> = Arc::new(Simulated(Instant::now()));
    let config = Config::parse(CONFIG, |_| None).expect("the configuration is good");
    let stores = Stores::memory(Arc::clone(&clock));
    let (minted, record) = NewKey::new("acme", "films").expect("good names").mint(clock.now());
    stores.key_admin.insert(record).await.expect("the key is new");
    let assembled = config.gateway(stores.clone(), client, TokioHost, clock).await;
    let (builder, jobs, _) = assembled.expect("the parts fit");
    let bearer = HeaderValue::try_from(format!("Bearer {}", minted.text.expose())).expect("ASCII");
    (builder.build(), jobs, stores, bearer)
}

/// What a job weighs by itself: in a store of its own, without its request's record in the ledger and its hold in the
/// counters, which every request under way has.
async fn weigh(stores: &Stores) -> usize {
    let filter = JobFilter {
        workspace: "acme".into(),
        project: "films".into(),
        environment: None,
        state: None,
        model: None,
        ascending: true,
    };
    let (apart, mut page) = (MemoryJobs::new(), Page { after: None, limit: 1_000 });
    let before = support::held();
    loop {
        let found = stores.jobs.list(filter.clone(), page.clone()).await.expect("memory answers");
        for job in found.items {
            // As it would come from JSON, so that nothing is shared but what jobs share.
            let alone: Job = serde_json::from_value(serde_json::to_value(&job).expect("JSON")).expect("a job");
            apart.put(Job { price: job.price, home: job.home, ..alone }).await.expect("memory answers");
        }
        page.after = found.next;
        if page.after.is_none() {
            break;
        }
    }
    (support::held() - before) / JOBS
}

/// Makes so many jobs, with a prompt of 1,500 characters.
async fn make(gateway: &Gateway<Client>, bearer: &HeaderValue, model: &str, count: usize) {
    let prompt = "A quiet city street at sunrise. ".repeat(46);
    let body = json!({ "model": model, "prompt": prompt, "duration": 6, "aspect_ratio": "16:9" }).to_string();
    let create = || {
        let mut request = Request::post("/v1/videos/generations").body(Full::from(body.clone())).expect("a request");
        let headers = request.headers_mut();
        headers.insert("authorization", bearer.clone());
        headers.insert(HeaderName::from_static("content-type"), HeaderValue::from_static("application/json"));
        let gateway = gateway.clone();
        async move {
            let Ok(response) = gateway.oneshot(request).await;
            assert_eq!(response.status(), 202);
            drop(response.into_body().collect().await);
        }
    };
    let mut left = count;
    while left > 0 {
        let now = left.min(500);
        (0..now).map(|_| create()).collect::<FuturesUnordered<_>>().collect::<()>().await;
        left -= now;
    }
}

/// As many calls as `calls`, each read to its end, in as much simulated time, and nothing else.
async fn bare(client: Client, url: &'static str, calls: u64) -> Duration {
    let from = cpu();
    for at in 0..calls {
        let client = client.clone();
        tokio::spawn(async move {
            let mut request = Request::new(CallBody::empty());
            *request.uri_mut() = url.parse().expect("a URL");
            let Ok(response) = client.oneshot(request).await;
            drop(response.into_body().collect().await);
        });
        // The driver's own steps, so that as many calls are under way at the same time.
        if at % 256 == 255 {
            sleep(Duration::from_millis(500)).await;
        }
    }
    sleep(LATENCY * 2).await;
    cpu() - from
}

async fn measure(model: &str, url: &'static str) {
    let calls = Arc::new(AtomicU64::new(0));
    let client = vendor(&calls);
    let (gateway, jobs, stores, bearer) = gateway(client.clone()).await;
    // What is there once, for any number of jobs.
    make(&gateway, &bearer, model, 100).await;
    let before = support::held();
    make(&gateway, &bearer, model, JOBS - 100).await;
    let all = (support::held() - before) / (JOBS - 100);
    let each = weigh(&stores).await;

    let driving = tokio::spawn(jobs.drive());
    let (from, made) = (cpu(), calls.load(Ordering::Relaxed));
    sleep(SPAN).await;
    let (whole, made) = (cpu() - from, calls.load(Ordering::Relaxed) - made);
    driving.abort();
    let bare = bare(client, url, made).await;
    let own = whole.saturating_sub(bare);
    println!(
        "{model}: {made} calls in {SPAN:?}, {:.2} % of a core (whole {whole:?}, calls alone {bare:?}), {:.1} µs a call; \
         {each} bytes a job, {all} with its record and its hold",
        own.as_secs_f64() / SPAN.as_secs_f64() * 100.0,
        own.as_secs_f64() * 1e6 / made as f64,
    );
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    for (model, url) in [
        ("veo", "https://gemini.test/v1beta/models/veo/operations/op1"),
        ("kling-video", "https://kling.test/v1/videos/text2video/1"),
        ("bytedance-video", "https://ark.test/api/v3/contents/generations/tasks?page_num=1"),
    ] {
        runtime.block_on(measure(model, url));
    }
}
