//! Video jobs: created, followed, paid for once, and announced.
//!
//! A video takes minutes, so a request for one is answered with a job. [`VideoJobs`] makes jobs (through
//! [`ProviderRouteService`](crate::route::ProviderRouteService), behind the same layers as every model request), answers
//! what callers ask about them, and follows them at their vendors: [`VideoJobs::drive`] is a future that the host spawns.
//!
//! ```
//! # #[cfg(feature = "client")] {
//! use std::sync::Arc;
//! use kancy::client::TokioHost;
//! use kancy::jobs::VideoJobs;
//! use kancy::store::memory::jobs::MemoryJobs;
//! use kancy::{HyperClient, MemoryLedger, Registry};
//!
//! let ledger = Arc::new(MemoryLedger::new());
//! let jobs = VideoJobs::new(Registry::offline(), HyperClient::new(), Arc::new(MemoryJobs::new()), ledger, TokioHost);
//! let following = jobs.drive();
//! # let _ = following;
//! # }
//! ```
//!
//! # Paid for once
//! The job is stored, and its hold journaled, before the vendor is called; the vendor is called once, in a task that
//! goes on when the caller leaves. A create whose answer was lost is never repeated: the job ends as unknown, unless the
//! vendor can be asked for it by our own id. Whoever sees the end first (a caller's read, a callback, any instance's
//! driver) ends the job by compare-and-set; the webhook rows go with that change; then the hold is settled and the
//! record completed. Until that is noted the job stays due, so that a crash in between is made good by the next who looks.
//!
//! Where a vendor tells of many jobs at once ([`Batch`](crate::provider::video::Batch)), the driver asks so.
//!
//! # Order
//! Creation stands where all model requests do: inside Auth, Metering, Inspect and Quota. The record is opened with
//! status 202 and completed at the job's end; the hold, a concurrency slot with it, is kept until then. Both are the job's
//! from its creation on, and stand in its row: whichever instance sees the end completes and settles them. Everything
//! else here needs a [`Caller`](crate::Caller) alone.
//!
//! # After a restart
//! [`VideoJobs::resume`] goes before the first request: it places the holds of open jobs again where the counters were
//! lost with the process. A job whose creation was cut has no name at its vendor, and ends as unknown.

mod body;
mod callback;
mod content;
mod create;
mod driver;
mod follow;
mod making;
mod promise;
mod replay;
mod request;
mod resume;
mod routes;
mod settle;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use http::Request;

use crate::base::clock::{Clock, SystemClock, Timestamp};
use crate::base::error::{Code, Error};
use crate::base::host::{Host, within};
use crate::domain::job::Job;
use crate::domain::price::Price;
use crate::http::body::CallBody;
use crate::http::vendor::{AnyClient, BoxError, VendorClient};
use crate::provider::codec::video_codec;
use crate::provider::registry::Registry;
use crate::provider::traits::{Target, Timeouts};
use crate::provider::video::{Answer, VideoProvider};
use crate::store::error::StoreError;
use crate::store::jobs::JobStore;
use crate::store::ledger::UsageSink;
use crate::store::quota::QuotaStore;
use crate::webhook::Webhooks;

pub use body::{JobBody, JobFuture};
pub(crate) use create::Creation;
pub use replay::{ReplayFuture, ReplayLayer, ReplayService};

/// The longest answer of a vendor that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// The same, for many jobs at once.
const MAX_ANSWERS: usize = 1024 * 1024;

/// How long a create may take at the vendor.
const CREATE: Duration = Duration::from_secs(60);

/// How long any other call about a job may take at the vendor.
const ASK: Duration = Duration::from_secs(30);

/// What becomes of the hold of a job whose fate the vendor did not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnknown {
    /// It is given back.
    #[default]
    Release,
    /// The job is charged as ordered.
    Charge,
}

/// The pace and the bounds of jobs.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the keys of CONTRACT section 2")]
pub struct JobRules {
    /// The floor between two polls; `None` = the vendor's own.
    pub poll: Option<Duration>,
    /// What the time between polls grows to.
    pub max_poll: Duration,
    /// Then a job is expired.
    pub deadline: Duration,
    pub on_unknown: OnUnknown,
    /// The gateway's own address, without a trailing slash: where vendors call back, and what content links begin with.
    pub public_base_url: Option<String>,
}

impl Default for JobRules {
    fn default() -> Self {
        Self {
            poll: None,
            max_poll: Duration::from_secs(30),
            deadline: Duration::from_secs(1_800),
            on_unknown: OnUnknown::Release,
            public_base_url: None,
        }
    }
}

/// All video jobs of a gateway. Cheap to clone; see the [module](self).
#[derive(Clone)]
pub struct VideoJobs(Arc<Inner>);

struct Inner {
    registry: Registry,
    client: AnyClient,
    store: Arc<dyn JobStore>,
    sink: Arc<dyn UsageSink>,
    quota: OnceLock<Arc<dyn QuotaStore>>,
    webhooks: Option<Webhooks>,
    host: Arc<dyn Host>,
    clock: Arc<dyn Clock>,
    rules: JobRules,
    codecs: HashMap<&'static str, Arc<dyn VideoProvider>>,
    /// The prices that jobs were last made at, by model.
    prices: Mutex<HashMap<Arc<str>, Arc<Price>>>,
}

impl VideoJobs {
    /// Jobs at the models of `registry`, called through `client`, kept in `store`, on record in `sink` (which must be the
    /// metering layer's).
    pub fn new(
        registry: Registry,
        client: impl VendorClient,
        store: Arc<dyn JobStore>,
        sink: Arc<dyn UsageSink>,
        host: impl Host,
    ) -> Self {
        Self(Arc::new(Inner {
            registry,
            client: AnyClient::new(client),
            store,
            sink,
            quota: OnceLock::new(),
            webhooks: None,
            host: Arc::new(host),
            clock: Arc::new(SystemClock::new()),
            rules: JobRules::default(),
            codecs: HashMap::new(),
            prices: Mutex::default(),
        }))
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        // Before it is shared there is one owner; afterwards a change would be seen by some and not by others.
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            change(inner);
        }
        self
    }

    /// Goes by these rules. To be set before the value is cloned, as all of its settings.
    #[must_use]
    pub fn rules(self, rules: JobRules) -> Self {
        self.change(|inner| inner.rules = rules)
    }

    /// Announces the end of jobs here. The outbox must be part of the same store as the jobs.
    #[must_use]
    pub fn webhooks(self, webhooks: Webhooks) -> Self {
        self.change(|inner| inner.webhooks = Some(webhooks))
    }

    /// Settles the holds of jobs in `store`, which must be the quota layer's. The first one counts, for every clone;
    /// [`GatewayBuilder::videos`](crate::gateway::GatewayBuilder::videos) sees to it.
    #[must_use]
    pub fn quota(self, store: impl QuotaStore) -> Self {
        self.settle_in(Arc::new(store));
        self
    }

    pub(crate) fn settle_in(&self, store: Arc<dyn QuotaStore>) {
        self.0.quota.get_or_init(|| store);
    }

    /// Goes by this clock.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.change(|inner| inner.clock = Arc::new(clock))
    }

    /// Adds a codec of your own for providers of `kind`, or puts it in the place of the built-in one.
    #[must_use]
    pub fn codec(self, kind: &'static str, codec: impl VideoProvider) -> Self {
        self.change(|inner| drop(inner.codecs.insert(kind, Arc::new(codec))))
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Where a model runs and how its vendor is spoken to.
    fn vendor(&self, model: &str) -> Option<(Arc<Target>, Arc<dyn VideoProvider>)> {
        let target = self.0.registry.target(model)?;
        let kind = target.codec.kind();
        let codec = self.0.codecs.get(kind).cloned().or_else(|| video_codec(kind))?;
        Some((target, codec))
    }

    /// Asks the vendor, once; with no request there is nobody to ask. `None` when it did not answer in `time`.
    async fn ask(&self, request: Option<Request<CallBody>>, time: Duration) -> Result<Option<Answer>, BoxError> {
        match request {
            None => Ok(Some(Answer::none())),
            Some(request) => self.ask_for(request, time, MAX_ANSWER).await,
        }
    }

    /// The same, for an answer of at most `longest` bytes.
    async fn ask_for(
        &self,
        mut request: Request<CallBody>,
        time: Duration,
        longest: usize,
    ) -> Result<Option<Answer>, BoxError> {
        request.extensions_mut().insert(Timeouts { first_byte: time, idle: time });
        let exchange = async {
            let (head, body) = self.0.client.send(request).await?.into_parts();
            let body = body.collect(longest).await?;
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        within(&*self.0.host, time, exchange).await.transpose()
    }

    /// The job of this id, if it is one that this caller may see: its project's and its environment's.
    async fn owned(&self, id: &str, caller: &crate::domain::caller::Caller) -> Result<Job, Error> {
        let found = self.0.store.get(id).await.map_err(|error| store_failed(&error))?;
        let home = caller.home();
        let is_own = |job: &Job| {
            let at = &job.home;
            at.workspace == home.workspace && at.project == home.project && at.environment == home.environment
        };
        found.filter(is_own).ok_or_else(|| Error::new(Code::NotFound, "There is no video job of this id."))
    }
}

/// What a store's failure is to a caller.
fn store_failed(error: &StoreError) -> Error {
    Error::new(Code::InternalError, "The store of video jobs does not answer. Try again shortly.")
        .cause(error.message())
}

impl fmt::Debug for VideoJobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VideoJobs").field("store", &self.0.store).field("rules", &self.0.rules).finish_non_exhaustive()
    }
}
