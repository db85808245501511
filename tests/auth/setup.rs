//! A store that behaves as told, a clock that is turned by hand, and a service that notes who got through.

use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use kancy::domain::caller::Home;
use kancy::domain::key::KeyId;
use kancy::domain::name::Name;
use kancy::store::error::{StoreError, StoreResult};
use kancy::{
    AuthLayer, Caller, KeyAdmin, KeyRecord, KeyStore, ManualClock, MemoryKeys, MintedKey, StoreFuture, Timestamp,
};
use tokio::sync::Semaphore;
use tower::{Layer, ServiceExt, service_fn};

pub(crate) const START: Timestamp = Timestamp::from_secs(1_800_000_000);

pub(crate) fn mint(workspace: &str) -> (MintedKey, KeyRecord) {
    let name = |text| Name::new(text).unwrap();
    let home = Home { workspace: name(workspace), project: name("site"), team: None, environment: None };
    let minted = MintedKey::new(None);
    let record = KeyRecord::new(minted.id.clone(), minted.digest, home, START);
    (minted, record)
}

pub(crate) fn bearer(key: &MintedKey) -> String {
    format!("Bearer {}", key.text.expose())
}

/// How a store answers. `Slow` and `Panicking` wait for a permit of the gate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mood {
    Prompt,
    Slow,
    Failing,
    Panicking,
}

/// A store that counts what it is asked.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) held: Arc<MemoryKeys>,
    pub(crate) gate: Arc<Semaphore>,
    mood: Mutex<Mood>,
    lookups: AtomicUsize,
    touches: AtomicUsize,
    /// Added to the epoch: changes of which only the fact is known.
    hints: AtomicU64,
    /// Whether changes of `held` show in the epoch.
    tells: bool,
}

impl Keys {
    pub(crate) fn new(tells: bool) -> Self {
        Self {
            held: Arc::new(MemoryKeys::new()),
            gate: Arc::new(Semaphore::new(0)),
            mood: Mutex::new(Mood::Prompt),
            lookups: AtomicUsize::new(0),
            touches: AtomicUsize::new(0),
            hints: AtomicU64::new(0),
            tells,
        }
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(crate) fn hint(&self) {
        self.hints.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn lookups(&self) -> usize {
        self.lookups.load(Ordering::SeqCst)
    }

    pub(crate) fn touches(&self) -> usize {
        self.touches.load(Ordering::SeqCst)
    }
}

impl KeyStore for Keys {
    fn lookup(&self, id: &KeyId) -> StoreFuture<StoreResult<Option<Arc<KeyRecord>>>> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        let mood = *self.mood.lock().unwrap();
        let (gate, answer) = (Arc::clone(&self.gate), self.held.lookup(id));
        match mood {
            Mood::Prompt => answer,
            Mood::Failing => StoreFuture::new(async { Err(StoreError::unavailable("connection refused")) }),
            Mood::Slow | Mood::Panicking => StoreFuture::new(async move {
                gate.acquire().await.unwrap().forget();
                assert_ne!(mood, Mood::Panicking, "a bug of the store");
                answer.await
            }),
        }
    }

    fn epoch(&self) -> u64 {
        self.hints.load(Ordering::SeqCst) + if self.tells { self.held.epoch() } else { 0 }
    }

    fn touch(&self, id: &KeyId, at: Timestamp) {
        self.touches.fetch_add(1, Ordering::SeqCst);
        self.held.touch(id, at);
    }
}

pub(crate) struct Setup {
    pub(crate) keys: Arc<Keys>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) layer: AuthLayer,
    /// Who got through, and the headers that came along.
    pub(crate) seen: Arc<Mutex<Vec<(Caller, HeaderMap)>>>,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self::on(Keys::new(true))
    }

    /// On a store that cannot tell when a key changes.
    pub(crate) fn untold() -> Self {
        Self::on(Keys::new(false))
    }

    fn on(keys: Keys) -> Self {
        let (keys, clock) = (Arc::new(keys), Arc::new(ManualClock::at(START)));
        let layer = AuthLayer::new(Arc::clone(&keys)).clock(Arc::clone(&clock));
        Self { keys, clock, layer, seen: Arc::default() }
    }

    pub(crate) async fn key(&self, workspace: &str) -> MintedKey {
        let (minted, record) = mint(workspace);
        self.keys.held.insert(record).await.unwrap();
        minted
    }

    pub(crate) fn ask(&self, headers: &[(&str, &[u8])]) -> impl Future<Output = Answer> + Send + use<> {
        let mut request = Request::new(String::new());
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_bytes(value).unwrap());
        }
        let seen = Arc::clone(&self.seen);
        let inner = service_fn(move |request: Request<String>| {
            let caller = request.extensions().get::<Caller>().unwrap().clone();
            seen.lock().unwrap().push((caller, request.headers().clone()));
            async { Ok::<_, Infallible>(Response::new(String::new())) }
        });
        let service = self.layer.layer(inner);
        async move {
            let (parts, body) = service.oneshot(request).await.unwrap().into_parts();
            let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
            Answer { status: parts.status.as_u16(), headers: parts.headers, text }
        }
    }

    pub(crate) fn ask_as(&self, key: &MintedKey) -> impl Future<Output = Answer> + Send + use<> {
        self.ask(&[("authorization", bearer(key).as_bytes())])
    }

    pub(crate) fn passed(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

/// What the caller reads.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn error(&self, field: &str) -> String {
        let envelope: serde_json::Value = serde_json::from_str(&self.text).unwrap_or_default();
        envelope["error"][field].as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub(crate) fn passes(&self) {
        assert_eq!(self.status, 200, "{self:?}");
    }

    #[track_caller]
    pub(crate) fn is(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.error("code").as_str()), (status, code), "{self:?}");
    }
}
