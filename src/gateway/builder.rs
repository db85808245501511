//! From parts to a gateway.

use std::sync::Arc;

use tower_layer::Layer;

use crate::admin::AdminService;
use crate::auth::AuthLayer;
use crate::base::clock::{Clock, SystemClock};
use crate::domain::limit::OnStoreFailure;
use crate::domain::limit_book::LimitBook;
use crate::http::meter::Abandoned;
use crate::inspect::InspectLayer;
use crate::jobs::{ReplayLayer, VideoJobs};
use crate::metering::{Closing, MeteringLayer};
use crate::provider::registry::Registry;
use crate::quota::QuotaLayer;
use crate::route::{Drain, ProviderRouteService};
use crate::store::keys::KeyStore;
use crate::store::ledger::{UsageSink, UsageStore};
use crate::store::memory::keys::MemoryKeys;
use crate::store::memory::ledger::MemoryLedger;
use crate::store::memory::quota::MemoryQuota;
use crate::store::quota::QuotaStore;

use super::api::Api;
use super::service::Gateway;

/// Puts a [`Gateway`] together. What is not set is kept in memory; without keys, no caller is let in.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct GatewayBuilder<C> {
    registry: Registry,
    client: C,
    keys: AuthLayer,
    /// Whether `keys` came as a layer, with a clock of its own.
    is_layer: bool,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn UsageSink>,
    reports: Arc<dyn UsageStore>,
    quota: Arc<dyn QuotaStore>,
    limits: Arc<LimitBook>,
    on_store_failure: OnStoreFailure,
    abandoned: Abandoned,
    drain: Option<Drain>,
    max_body_bytes: usize,
    closing: Closing,
    admin: Option<AdminService>,
    jobs: Option<VideoJobs>,
}

impl<C> GatewayBuilder<C> {
    pub(super) fn new(registry: Registry, client: C) -> Self {
        let ledger = Arc::new(MemoryLedger::new());
        Self {
            registry,
            client,
            keys: AuthLayer::new(MemoryKeys::new()),
            is_layer: false,
            clock: Arc::new(SystemClock::new()),
            sink: ledger.clone(),
            reports: ledger,
            quota: Arc::new(MemoryQuota::new()),
            limits: Arc::default(),
            on_store_failure: OnStoreFailure::Closed,
            abandoned: Abandoned::Seen,
            drain: None,
            max_body_bytes: 33_554_432,
            closing: Closing::default(),
            admin: None,
            jobs: None,
        }
    }

    /// Lets the holders of these keys in.
    pub fn keys(mut self, keys: impl KeyStore) -> Self {
        (self.keys, self.is_layer) = (AuthLayer::new(keys), false);
        self
    }

    /// Lets callers in as this layer does: keys with a cache time or a clock of their own.
    pub fn auth(mut self, layer: AuthLayer) -> Self {
        (self.keys, self.is_layer) = (layer, true);
        self
    }

    /// Keeps usage records here, and reports from it.
    pub fn ledger<L: UsageSink + UsageStore>(self, ledger: Arc<L>) -> Self {
        self.ledger_parts(Arc::clone(&ledger) as Arc<dyn UsageSink>, ledger)
    }

    /// Writes usage records to `sink`, and reports from `reports`, which must see what was written.
    pub fn ledger_parts(mut self, sink: Arc<dyn UsageSink>, reports: Arc<dyn UsageStore>) -> Self {
        self.sink = sink;
        self.reports = reports;
        self
    }

    /// Holds these limits, with their counters in `store`.
    pub fn quota(mut self, store: impl QuotaStore, limits: Arc<LimitBook>) -> Self {
        self.quota = Arc::new(store);
        self.limits = limits;
        self
    }

    /// What happens to requests while the quota store cannot be reached; spend and total limits are always closed.
    pub fn on_store_failure(mut self, policy: OnStoreFailure) -> Self {
        self.on_store_failure = policy;
        self
    }

    /// What is booked for an answer that the caller did not wait for.
    pub fn abandoned(mut self, policy: Abandoned) -> Self {
        self.abandoned = policy;
        self
    }

    /// Reads answers to their end when their callers have left.
    pub fn drain(mut self, drain: Drain) -> Self {
        self.drain = Some(drain);
        self
    }

    /// Refuses longer bodies, in bytes; 32 MiB unless set.
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// Tells requests that are cut from now on that it was the server that went down.
    pub fn closing(mut self, closing: Closing) -> Self {
        self.closing = closing;
        self
    }

    /// Serves the admin API under `/admin/v1`.
    pub fn admin(mut self, admin: AdminService) -> Self {
        self.admin = Some(admin);
        self
    }

    /// Makes and serves video jobs, whose holds are settled in this gateway's quota store. Give it the same registry and
    /// ledger; the host awaits [`VideoJobs::resume`] and spawns [`VideoJobs::drive`].
    pub fn videos(mut self, jobs: VideoJobs) -> Self {
        self.jobs = Some(jobs);
        self
    }

    /// Goes by this clock; an [`auth`](Self::auth) layer and [`videos`](Self::videos) bring their own.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The gateway.
    pub fn build(self) -> Gateway<C> {
        let clock = || Arc::clone(&self.clock);
        let mut route = ProviderRouteService::new(self.registry.clone(), self.client).clock(clock());
        if let Some(drain) = self.drain {
            route = route.drain(drain);
        }
        if let Some(jobs) = self.jobs.clone() {
            jobs.settle_in(Arc::clone(&self.quota));
            route = route.videos(jobs);
        }
        let quota = QuotaLayer::new(self.quota, self.limits).clock(clock()).on_store_failure(self.on_store_failure);
        let inspect = InspectLayer::new().catalog(self.registry.clone()).max_body_bytes(self.max_body_bytes);
        let metering = MeteringLayer::new(self.sink)
            .clock(clock())
            .abandoned(self.abandoned)
            .closing(self.closing)
            .model_routes_only();
        let replay = ReplayLayer::new(self.jobs.clone());
        let models = metering.layer(inspect.layer(replay.layer(quota.layer(route))));
        let api = Api::new(models, self.registry, self.reports, self.jobs.clone());
        let keys = if self.is_layer { self.keys } else { self.keys.clock(self.clock) };
        Gateway::new(keys.layer(api), self.admin, self.jobs)
    }
}
