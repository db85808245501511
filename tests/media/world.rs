//! A gateway over one vendor that answers as a test tells it to, and counts who is with it at a time.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use kancy::client::TokioHost;
use kancy::config::{OnDisconnect, Stores};
use kancy::http::body::CallBody;
use kancy::store::ledger::RecordFilter;
use kancy::{Clock, Config, Drain, Gateway, ManualClock, MintedKey, NewKey, Page, Timestamp, UsageRecord};
use serde_json::Value;
use tower::ServiceExt;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

const CONFIG: &str = r#"
[storage]
url = "memory:"
[providers.openai]
kind = "openai"
base_url = "https://openai.test/v1"
api_key = "openai-secret"
[providers.gemini]
kind = "gemini"
base_url = "https://gemini.test"
api_key = "gemini-secret"
[providers.ark]
kind = "ark"
base_url = "https://ark.test/api/v3"
api_key = "ark-secret"
[providers.minimax]
kind = "minimax"
base_url = "https://minimax.test"
api_key = "minimax-secret"
[models."bytedance-image"]
provider = "ark"
price = { per_image = "0.04" }
[models."minimax-image"]
provider = "minimax"
price = { per_image = "0.0035" }
[models."imagen"]
provider = "gemini"
upstream = "imagen-4.0-generate-001"
modality = "image"
price = { per_image = "0.04" }
[models."dall-e-3"]
provider = "openai"
modality = "image"
price = { per_image = "0.04" }
[[models."dall-e-3".price_tier]]
when = { quality = "hd", size = "1024x1792" }
price = { per_image = "0.12" }
[[models."dall-e-3".price_tier]]
when = { quality = "hd" }
price = { per_image = "0.08" }
[models."dall-e-2"]
provider = "openai"
modality = "image"
price = { per_image = "0.02" }
[models."minimax-tts"]
provider = "minimax"
upstream = "speech-2.8-hd"
modality = "voice"
price = { per_character = "0.0001" }
[models."gpt-4o-transcribe"]
provider = "openai"
modality = "voice"
max_output_tokens = 2000
price = { input = "2.50", audio_input = "6", output = "10" }
"#;

type Client = tower::util::BoxCloneSyncService<Request<CallBody>, Response<Full<Bytes>>, Infallible>;

/// What the vendor was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which request of the vendor's it is, from 0.
    pub nth: usize,
    pub path: String,
    pub bytes: Bytes,
}

impl Asked {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }
}

/// What the vendor says, and after how long.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
    pub after: Duration,
}

impl Answer {
    pub fn json(status: u16, body: impl ToString) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status, headers, body: body.to_string().into(), after: Duration::ZERO }
    }

    pub fn of_type(content_type: &str, body: impl Into<Bytes>) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self { status: 200, headers, body: body.into(), after: Duration::ZERO }
    }

    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub fn after(mut self, seconds: u64) -> Self {
        self.after = Duration::from_secs(seconds);
        self
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// Who was with the vendor.
#[derive(Debug, Default)]
pub struct Visits {
    pub asked: Mutex<Vec<Asked>>,
    now: AtomicUsize,
    pub most_at_once: AtomicUsize,
    /// Answers that were waited for to their end.
    pub served: AtomicUsize,
}

struct Visit(Arc<Visits>);

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, SeqCst);
    }
}

impl Visits {
    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    pub fn with_the_vendor(&self) -> usize {
        self.now.load(SeqCst)
    }

    fn begin(self: &Arc<Self>, asked: Asked) -> (Asked, Visit) {
        let mut all = self.asked.lock().unwrap();
        let asked = Asked { nth: all.len(), ..asked };
        all.push(asked.clone());
        self.most_at_once.fetch_max(self.now.fetch_add(1, SeqCst) + 1, SeqCst);
        (asked, Visit(Arc::clone(self)))
    }
}

pub struct World {
    gateway: Gateway<Client>,
    pub visits: Arc<Visits>,
    pub stores: Stores,
    pub config: Config,
    pub clock: Arc<ManualClock>,
    key: MintedKey,
}

/// An answer of the gateway.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    /// Empty where the answer broke off.
    pub bytes: Bytes,
    pub broke_off: bool,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// An error's code and the parameter that it names.
    pub fn error(&self) -> (String, Option<String>) {
        let error = &self.json()["error"];
        (error["code"].as_str().unwrap_or_default().to_owned(), error["param"].as_str().map(str::to_owned))
    }
}

fn client(visits: &Arc<Visits>, vendor: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Client {
    let (visits, vendor) = (Arc::clone(visits), Arc::new(vendor));
    Client::new(tower::service_fn(move |request: Request<CallBody>| {
        let (visits, vendor) = (Arc::clone(&visits), Arc::clone(&vendor));
        async move {
            let (head, body) = request.into_parts();
            let bytes = body.collect().await.unwrap_or_default().to_bytes();
            let asked = Asked { nth: 0, path: head.uri.path().to_owned(), bytes };
            let (asked, visit) = visits.begin(asked);
            let answer = vendor(&asked);
            tokio::time::sleep(answer.after).await;
            let mut response = Response::new(Full::new(answer.body));
            *response.status_mut() = answer.status.try_into().unwrap();
            for (name, value) in answer.headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            visits.served.fetch_add(1, SeqCst);
            drop(visit);
            Ok::<_, Infallible>(response)
        }
    }))
}

/// A gateway over `vendor`, with `more` at the end of its configuration.
pub async fn world(more: &str, vendor: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> World {
    let config = Config::parse(&format!("{CONFIG}{more}"), |_| None).unwrap();
    let clock = Arc::new(ManualClock::at(START));
    let stores = Stores::memory(clock.clone());
    let visits = Arc::default();
    let client = client(&visits, vendor);
    let (key, record) = NewKey::new("acme", "site").unwrap().mint(START);
    stores.key_admin.insert(record).await.unwrap();
    let assembled = config.gateway(stores.clone(), client, TokioHost, clock.clone() as Arc<dyn Clock>).await;
    let mut builder = assembled.unwrap().0;
    if config.gateway.on_disconnect == OnDisconnect::Drain {
        builder = builder.drain(Drain::new(|task| drop(tokio::spawn(task))));
    }
    World { gateway: builder.build(), visits, stores, config, clock, key }
}

impl World {
    pub async fn send<B>(&self, path: &str, content_type: &str, body: B) -> Reply
    where
        B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        let request = Request::post(path)
            .header("content-type", content_type)
            .header("authorization", format!("Bearer {}", self.key.text.expose()));
        let response = self.gateway.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes());
        let broke_off = body.is_err();
        Reply { status: head.status.as_u16(), headers: head.headers, bytes: body.unwrap_or_default(), broke_off }
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(path, "application/json", Full::<Bytes>::from(body.to_string())).await
    }

    pub async fn images(&self, body: &Value) -> Reply {
        self.post("/v1/images/generations", body).await
    }

    /// Sends a form of the fields, and of files where the name has a `.`: `file=a.wav`.
    pub async fn form(&self, path: &str, fields: &[Field<'_>]) -> Reply {
        self.send(path, "multipart/form-data; boundary=b0", Full::from(form(fields))).await
    }

    /// Records, oldest first.
    pub async fn records(&self) -> Vec<UsageRecord> {
        let page = Page { after: None, limit: 1_000 };
        let mut records = self.stores.usage.records(RecordFilter::default(), page).await.unwrap().items;
        records.reverse();
        records
    }

    /// What is used and what is held of the only limit.
    pub async fn counted(&self) -> (u64, u64) {
        let limits: Vec<_> = self.config.limits.iter().cloned().map(Arc::new).collect();
        let states = self.stores.quota.state(limits, self.clock.now()).await.unwrap();
        (states[0].used, states[0].reserved)
    }
}

/// A field's name and its content.
pub type Field<'a> = (&'a str, &'a [u8]);

pub fn form(fields: &[Field<'_>]) -> Bytes {
    let mut body = Vec::new();
    for (name, content) in fields {
        let name = match name.split_once('=') {
            Some((name, file)) => format!("{name}\"; filename=\"{file}"),
            None => (*name).to_owned(),
        };
        body.extend_from_slice(format!("--b0\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b0--\r\n");
    body.into()
}

/// A WAV of so many seconds: 8 kHz, 16 bits, one channel.
pub fn wav(seconds: u32) -> Vec<u8> {
    let data = 16_000 * seconds;
    let mut file = b"RIFF".to_vec();
    file.extend_from_slice(&(36 + data).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend_from_slice(&8_000u32.to_le_bytes());
    file.extend_from_slice(&16_000u32.to_le_bytes());
    file.extend_from_slice(b"\x02\0\x10\0data");
    file.extend_from_slice(&data.to_le_bytes());
    file.resize(file.len() + data as usize, 0);
    file
}
