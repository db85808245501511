//! Sending what is due.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use serde_json::Value;

use crate::base::clock::{Clock, SystemClock, Timestamp};
use crate::base::host::{Host, within};
use crate::base::id::{new_id, random};
use crate::base::secret::Secret;
use crate::domain::delivery::{Delivery, DeliveryState};
use crate::domain::name::Name;
use crate::domain::webhook::{Endpoint, EventKind};
use crate::http::body::CallBody;
use crate::http::dial::{PublicOnly, refusal};
use crate::http::vendor::{AnyClient, VendorClient};
use crate::store::error::StoreResult;
use crate::store::jobs::Outbox;
use crate::store::webhooks::EndpointStore;
use crate::wire::standard_webhooks::sign;
use crate::wire::vendor_error::retry_after;

use super::announce::Event;

/// Deliveries that are taken at once.
const BATCH: usize = 64;
/// Attempts at one endpoint at a time: a slow receiver must not hold up the others.
const AT_ONE_ENDPOINT: usize = 8;
/// How often a delivery looks whether it is its endpoint's turn.
const TURN: Duration = Duration::from_millis(50);
/// How much of a receiver's answer is read, in bytes.
const ANSWER: usize = 64 * 1024;
/// How often the outbox is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// The least wait after a receiver said that it is overloaded.
const THROTTLED: Duration = Duration::from_secs(60);

/// The webhooks of all workspaces. Cheap to clone; see the [module](super).
#[derive(Clone)]
pub struct Webhooks(Arc<Inner>);

struct Inner {
    client: AnyClient,
    outbox: Arc<dyn Outbox>,
    endpoints: Arc<dyn EndpointStore>,
    host: Arc<dyn Host>,
    clock: Arc<dyn Clock>,
    schedule: Vec<Duration>,
    timeout: Duration,
    /// Attempts under way, by endpoint.
    busy: Mutex<HashMap<Arc<str>, usize>>,
}

impl Webhooks {
    /// Sends what `outbox` holds to `endpoints`, on the contract's schedule.
    pub fn new(
        client: impl VendorClient,
        outbox: Arc<dyn Outbox>,
        endpoints: Arc<dyn EndpointStore>,
        host: impl Host,
    ) -> Self {
        let schedule = [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400].map(Duration::from_secs);
        Self(Arc::new(Inner {
            client: AnyClient::new(client),
            outbox,
            endpoints,
            host: Arc::new(host),
            clock: Arc::new(SystemClock::new()),
            schedule: schedule.into(),
            timeout: Duration::from_secs(20),
            busy: Mutex::default(),
        }))
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        // Before it is shared there is one owner; afterwards a change would be seen by some and not by others.
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            change(inner);
        }
        self
    }

    /// Waits so long before each attempt, the first included. To be set before the value is cloned, as all of its settings.
    #[must_use]
    pub fn schedule(self, schedule: Vec<Duration>) -> Self {
        self.change(|inner| inner.schedule = schedule)
    }

    /// Gives a receiver so long to answer; 20 s unless set.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.change(|inner| inner.timeout = timeout)
    }

    /// Goes by this clock.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.change(|inner| inner.clock = Arc::new(clock))
    }

    /// Sends what is due, for ever. The host spawns it, and drops it when it goes down: what is under way then is sent
    /// again by whoever drives next.
    pub fn drive(&self) -> impl Future<Output = ()> + Send + 'static {
        let webhooks = self.clone();
        async move {
            loop {
                // A store that cannot be read now is asked again at the next look.
                for delivery in webhooks.claim().await.unwrap_or_default() {
                    let sender = webhooks.clone();
                    webhooks.0.host.spawn(Box::pin(async move { sender.attempt(delivery).await }));
                }
                webhooks.0.host.sleep(LOOK).await;
            }
        }
    }

    /// Sends what is due now, one after another, and tells how many deliveries that were. For hosts with a loop of
    /// their own, and for tests.
    pub async fn send_due(&self) -> StoreResult<usize> {
        let due = self.claim().await?;
        let count = due.len();
        for delivery in due {
            self.attempt(delivery).await;
        }
        Ok(count)
    }

    async fn claim(&self) -> StoreResult<Vec<Delivery>> {
        let now = self.0.clock.now();
        let lease = self.0.timeout.saturating_mul(2) + Duration::from_secs(10);
        self.0.outbox.claim_due(now, now.plus(lease), BATCH).await
    }

    /// The endpoints that a workspace has.
    pub(crate) async fn endpoints_of(&self, workspace: &Name) -> StoreResult<Vec<Endpoint>> {
        let all = self.0.endpoints.all().await?;
        let of = all.into_iter().map(|(endpoint, _)| endpoint);
        Ok(of.filter(|e| e.workspace == *workspace && !e.disabled).collect())
    }

    /// The deliveries of a new event, to be stored together with the change that it tells of.
    pub(crate) async fn announce(
        &self,
        workspace: &Name,
        kind: EventKind,
        data: Value,
        also: Option<&Arc<str>>,
    ) -> StoreResult<Vec<Delivery>> {
        let endpoints = self.endpoints_of(workspace).await?;
        let (at, due_at) = (self.0.clock.now(), self.first_attempt());
        let event = Event { id: new_id("evt_"), kind, data, at, due_at };
        Ok(event.deliveries(&endpoints, also))
    }

    /// When the first attempt of an event of now is due.
    pub(super) fn first_attempt(&self) -> Timestamp {
        self.0.clock.now().plus(self.0.schedule.first().copied().unwrap_or_default())
    }

    pub(super) fn outbox(&self) -> &dyn Outbox {
        &*self.0.outbox
    }

    pub(super) fn shared_host(&self) -> Arc<dyn Host> {
        Arc::clone(&self.0.host)
    }

    /// One attempt. Whatever goes wrong in it is noted on the delivery, or left to the end of its lease.
    async fn attempt(&self, delivery: Delivery) {
        let Some(_turn) = self.turn(&delivery).await else { return };
        let Ok(all) = self.0.endpoints.all().await else { return };
        let found = all.into_iter().find(|(endpoint, _)| endpoint.id == delivery.endpoint_id && !endpoint.disabled);
        let tried = Delivery { attempts: delivery.attempts + 1, due_at: None, ..delivery };
        let after = match found {
            None => Delivery { state: DeliveryState::Dropped, ..tried },
            Some((endpoint, secrets)) => self.try_once(endpoint, secrets, tried).await,
        };
        // Not noted, it is sent again when its lease ends: at least once is what is promised.
        let _ = self.0.outbox.attempted(after).await;
    }

    /// Waits for one of its endpoint's turns, as long as the lease leaves time for the attempt itself.
    async fn turn(&self, delivery: &Delivery) -> Option<Turn<'_>> {
        loop {
            if let Some(turn) = Turn::take(&self.0, &delivery.endpoint_id) {
                return Some(turn);
            }
            if delivery.due_at.is_none_or(|until| self.0.clock.now().plus(self.0.timeout) >= until) {
                return None;
            }
            self.0.host.sleep(TURN).await;
        }
    }

    async fn try_once(&self, endpoint: Endpoint, secrets: Vec<Secret>, tried: Delivery) -> Delivery {
        let Some(request) = self.request(&endpoint, &secrets, &tried) else {
            return Delivery { state: DeliveryState::Failed, ..tried };
        };
        let exchange = async {
            let response = self.0.client.send(request).await.ok()?;
            let (head, body) = response.into_parts();
            // Read so that the connection can be used again; what it says does not matter.
            let _ = body.collect(ANSWER).await;
            Some((head.status.as_u16(), head.headers))
        };
        let answer = within(&*self.0.host, self.0.timeout, exchange).await.flatten();
        let last_status = answer.as_ref().map(|(status, _)| *status).or(tried.last_status);
        match answer {
            Some((200..=299, _)) => Delivery { state: DeliveryState::Delivered, last_status, ..tried },
            Some((410, _)) => {
                let id = Arc::clone(&endpoint.id);
                let _ = self.0.endpoints.put(Endpoint { disabled: true, ..endpoint }, secrets).await;
                let _ = self.0.outbox.drop_endpoint(&id).await;
                Delivery { state: DeliveryState::Dropped, last_status, ..tried }
            }
            answer => Delivery { last_status, ..self.later(tried, answer) },
        }
    }

    /// When it is tried again, if the schedule has a next time.
    fn later(&self, tried: Delivery, answer: Option<(u16, HeaderMap)>) -> Delivery {
        let Some(wait) = self.0.schedule.get(tried.attempts as usize) else {
            return Delivery { state: DeliveryState::Failed, ..tried };
        };
        let floor = match &answer {
            Some((429 | 502 | 504, headers)) => {
                retry_after(headers).unwrap_or(THROTTLED).min(Duration::from_secs(86_400))
            }
            _ => Duration::ZERO,
        };
        Delivery { due_at: Some(self.0.clock.now().plus(jittered((*wait).max(floor)))), ..tried }
    }

    /// `None` where the URL must not be dialled.
    fn request(&self, endpoint: &Endpoint, secrets: &[Secret], delivery: &Delivery) -> Option<Request<CallBody>> {
        let url = delivery.url.parse().ok().filter(|url| refusal(url, endpoint.allow_private).is_none())?;
        let seconds = self.0.clock.now().as_secs();
        let signature = sign(secrets, &delivery.event_id, seconds, &delivery.body);
        let mut request = Request::new(CallBody::from(Bytes::from(delivery.body.to_string())));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("kancy-webhooks/", env!("CARGO_PKG_VERSION"))));
        headers.insert(HeaderName::from_static("webhook-id"), HeaderValue::from_str(&delivery.event_id).ok()?);
        headers.insert(HeaderName::from_static("webhook-timestamp"), HeaderValue::from(seconds));
        headers.insert(HeaderName::from_static("webhook-signature"), HeaderValue::from_str(&signature).ok()?);
        if !endpoint.allow_private {
            request.extensions_mut().insert(PublicOnly);
        }
        Some(request)
    }
}

/// Up to a tenth longer: receivers that failed together must not be tried together.
fn jittered(wait: Duration) -> Duration {
    wait + wait.mul_f64(f64::from(random::<1>()[0]) / 2_550.0)
}

/// One of the few attempts that an endpoint is given at a time; given back on drop.
struct Turn<'a> {
    inner: &'a Inner,
    endpoint: Arc<str>,
}

impl<'a> Turn<'a> {
    fn take(inner: &'a Inner, endpoint: &Arc<str>) -> Option<Self> {
        let mut busy = inner.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let count = busy.entry(Arc::clone(endpoint)).or_default();
        if *count >= AT_ONE_ENDPOINT {
            return None;
        }
        *count += 1;
        drop(busy);
        Some(Self { inner, endpoint: Arc::clone(endpoint) })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut busy = self.inner.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = busy.get_mut(&self.endpoint) {
            *count -= 1;
            if *count == 0 {
                busy.remove(&self.endpoint);
            }
        }
    }
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks").field("endpoints", &self.0.endpoints).finish_non_exhaustive()
    }
}
