//! A gateway with four stand-in vendors, a receiver of webhooks, and a clock that is turned by hand.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use kancy::client::TokioHost;
use kancy::config::Stores;

use kancy::http::body::CallBody;
use kancy::jobs::VideoJobs;
use kancy::store::ledger::RecordFilter;
use kancy::webhook::Webhooks;
use kancy::{
    Clock, Config, Gateway, KeyRecord, LimitKey, ManualClock, MintedKey, NewKey, Page, Timestamp, UsageRecord,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::vendors::{Answer, Asked, Vendors};

pub const START: Timestamp = Timestamp::from_secs(1_800_000_000);
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const CONFIG: &str = r#"
[storage]
url = "memory:"

[gateway]
public_base_url = "https://ai.example.com"

[providers.minimax]
kind = "minimax"
base_url = "https://minimax.test"
api_key = "minimax-secret"
content_hosts = ["cdn.test"]

[providers.kling]
kind = "kling"
base_url = "https://kling.test"
access_key = "ak_test"
secret_key = "kling-secret"
content_hosts = ["cdn.test"]

[providers.ark]
kind = "ark"
base_url = "https://ark.test/api/v3"
api_key = "ark-secret"
content_hosts = ["cdn.test"]

[providers.gemini]
kind = "gemini"
base_url = "https://gemini.test"
api_key = "gemini-secret"
content_hosts = ["gemini.test", "cdn.test"]

[models."minimax-video"]
provider = "minimax"
price = { per_video = "0.28" }

[models."kling-video"]
provider = "kling"
price = { per_video_second = "0.10" }

[models."bytedance-video"]
provider = "ark"
price = { output = "2.40" }

[models."veo"]
provider = "gemini"

[[limits]]
scope = "workspace:acme"
measure = "concurrency"
amount = 10

[[limits]]
scope = "workspace:acme"
measure = "video_seconds"
amount = 100
per = "total"

[[webhooks]]
workspace = "acme"
url = "https://receiver.test/hook"
secret = "SECRET"
"#;

pub type Client = tower::util::BoxCloneSyncService<Request<CallBody>, Response<Full<Bytes>>, Infallible>;

pub struct World {
    pub gateway: Gateway<Client>,
    pub jobs: VideoJobs,
    pub webhooks: Webhooks,
    pub clock: Arc<ManualClock>,
    pub vendors: Arc<Mutex<Vendors>>,
    pub stores: Stores,
    config: Config,
    client: Client,
    pub key: Arc<MintedKey>,
    foreign: Arc<MintedKey>,
}

/// An answer of the gateway.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    pub fn id(&self) -> String {
        self.json()["id"].as_str().unwrap_or_default().to_owned()
    }

    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

fn client(vendors: &Arc<Mutex<Vendors>>) -> Client {
    let vendors = Arc::clone(vendors);
    let service = tower::service_fn(move |request: Request<CallBody>| {
        let vendors = Arc::clone(&vendors);
        async move {
            let public_only = request.extensions().get::<kancy::http::dial::PublicOnly>().is_some();
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap_or_default().to_bytes();
            let asked =
                Asked { head, body: serde_json::from_slice(&body).unwrap_or_default(), text: body, public_only };
            let answer = vendors.lock().unwrap().answer(asked);
            let Answer { status, headers, body, delay } = answer;
            tokio::time::sleep(delay).await;
            let mut response = Response::new(Full::new(body));
            *response.status_mut() = status.try_into().unwrap();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            Ok::<_, Infallible>(response)
        }
    });
    Client::new(service)
}

/// What is there whether a gateway runs or not: the time, the vendors, the configuration, and keys.
pub struct Outside {
    pub clock: Arc<ManualClock>,
    pub vendors: Arc<Mutex<Vendors>>,
    config: String,
    keys: [(Arc<MintedKey>, KeyRecord); 2],
}

impl Outside {
    /// Whatever the closure does to the configuration's text.
    pub fn with(change: impl FnOnce(String) -> String) -> Self {
        let keys = ["acme", "rival"].map(|workspace| {
            let (key, record) = NewKey::new(workspace, "site").unwrap().mint(START);
            (Arc::new(key), record)
        });
        let vendors = Arc::new(Mutex::new(Vendors::default()));
        let config = change(CONFIG.replace("SECRET", SECRET));
        Self { clock: Arc::new(ManualClock::at(START)), vendors, config, keys }
    }

    pub fn client(&self) -> Client {
        client(&self.vendors)
    }

    /// A gateway over these stores, which may have been another's before.
    pub async fn world(&self, stores: Stores, client: Client) -> World {
        let config = Config::parse(&self.config, |_| None).unwrap();
        for (key, record) in &self.keys {
            if stores.key_admin.get(&key.id).await.unwrap().is_none() {
                stores.key_admin.insert(record.clone()).await.unwrap();
            }
        }
        let clock = Arc::clone(&self.clock);
        let assembled =
            config.gateway(stores.clone(), client.clone(), TokioHost, clock.clone() as Arc<dyn Clock>).await;
        let (builder, jobs, webhooks) = assembled.unwrap();
        let [key, foreign] = self.keys.each_ref().map(|(key, _)| Arc::clone(key));
        let vendors = Arc::clone(&self.vendors);
        World { gateway: builder.build(), jobs, webhooks, clock, vendors, stores, config, client, key, foreign }
    }
}

/// Whatever the closure does to the configuration's text.
pub async fn world_with(change: impl FnOnce(String) -> String) -> World {
    let outside = Outside::with(change);
    outside.world(Stores::memory(outside.clock.clone()), outside.client()).await
}

pub async fn world() -> World {
    world_with(|text| text).await
}

impl World {
    /// A second instance over the same stores.
    pub async fn twin(&self) -> (Gateway<Client>, VideoJobs) {
        let clock = self.clock.clone() as Arc<dyn Clock>;
        let assembled = self.config.gateway(self.stores.clone(), self.client.clone(), TokioHost, clock).await;
        let (builder, jobs, _) = assembled.unwrap();
        (builder.build(), jobs)
    }

    pub async fn send(&self, key: &MintedKey, request: http::request::Builder, body: Bytes) -> Reply {
        let request = request.header("authorization", format!("Bearer {}", key.text.expose()));
        let response = self.gateway.clone().oneshot(request.body(Full::new(body)).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Reply { status: head.status.as_u16(), headers: head.headers, bytes }
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        let request = Request::post(path).header("content-type", "application/json");
        self.send(&self.key, request, body.to_string().into()).await
    }

    pub async fn post_once(&self, path: &str, body: Value, idempotency_key: &str) -> Reply {
        let request =
            Request::post(path).header("content-type", "application/json").header("idempotency-key", idempotency_key);
        self.send(&self.key, request, body.to_string().into()).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(&self.key, Request::get(path), Bytes::new()).await
    }

    pub async fn ask(&self, request: http::request::Builder) -> Reply {
        self.send(&self.key, request, Bytes::new()).await
    }

    pub async fn as_stranger(&self, request: http::request::Builder) -> Reply {
        self.send(&self.foreign, request, Bytes::new()).await
    }

    /// The product's own example.
    pub async fn create(&self, model: &str) -> Reply {
        let reply = self.post("/v1/videos/generations", example(model)).await;
        assert_eq!(reply.status, 202, "{:?}", reply.bytes);
        reply
    }

    pub async fn job(&self, id: &str) -> Value {
        self.get(&format!("/v1/videos/generations/{id}")).await.json()
    }

    /// Lets so much time pass, and the driver look.
    pub async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.jobs.follow_due().await.unwrap();
    }

    /// Follows until nothing is left to follow.
    pub async fn finish(&self) {
        for _ in 0..20 {
            self.pass(Duration::from_secs(60)).await;
        }
    }

    /// Records, oldest first.
    pub async fn records(&self) -> Vec<UsageRecord> {
        let page = Page { after: None, limit: 1_000 };
        let mut records = self.stores.usage.records(RecordFilter::default(), page).await.unwrap().items;
        records.reverse();
        records
    }

    /// What the limits count: (concurrency held, video seconds used, video seconds held).
    pub async fn counted(&self) -> (u64, u64, u64) {
        let limits: Vec<_> = self.config.limits.iter().cloned().map(Arc::new).collect();
        let states = self.stores.quota.state(limits, self.clock.now()).await.unwrap();
        let of = |measure: &str| {
            let is = |key: &LimitKey| key.measure.as_str() == measure;
            states.iter().find(|state| is(&state.limit.key)).map_or((0, 0), |state| (state.used, state.reserved))
        };
        let ((used, held), seconds) = (of("concurrency"), of("video_seconds"));
        (used + held, seconds.0, seconds.1)
    }
}

pub fn example(model: &str) -> Value {
    json!({ "model": model, "prompt": "A quiet city street at sunrise", "duration": 6, "aspect_ratio": "16:9" })
}

impl World {
    pub async fn ask_with(&self, request: http::request::Builder, body: Bytes) -> Reply {
        self.send(&self.key, request, body).await
    }

    /// A POST without a key, as a vendor makes it.
    pub async fn anonymous(&self, path: &str, body: Value) -> Reply {
        let request = Request::post(path).body(Full::new(Bytes::from(body.to_string()))).unwrap();
        let (head, body) = self.gateway.clone().oneshot(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Reply { status: head.status.as_u16(), headers: head.headers, bytes }
    }
}
