//! From a configuration and its stores to a gateway.

use std::sync::Arc;
#[cfg(feature = "postgres")]
use std::sync::Weak;

use crate::admin::{AdminService, AdminStores};
use crate::auth::AuthLayer;
use crate::base::clock::{Clock, Timestamp};
use crate::base::host::Host;
#[cfg(feature = "postgres")]
use crate::base::log;
use crate::domain::key::KeyRecord;
use crate::domain::limit::Limit;
use crate::domain::limit_book::LimitBook;
use crate::domain::pepper::Pepper;
use crate::domain::webhook::Endpoint;
use crate::gateway::{Gateway, GatewayBuilder};
use crate::http::vendor::VendorClient;
use crate::jobs::{JobRules, VideoJobs};
use crate::provider::codec::codec;
use crate::provider::registry::Registry;
use crate::provider::traits::Target;
use crate::store::error::StoreError;
#[cfg(any(feature = "postgres", feature = "redis"))]
use crate::store::guarded::Guarded;
use crate::store::jobs::{JobStore, Outbox};
use crate::store::keys::{KeyAdmin, KeyStore};
use crate::store::ledger::{UsageSink, UsageStore};
use crate::store::memory::alerts::MemoryAlerts;
use crate::store::memory::audit::MemoryAudit;
use crate::store::memory::jobs::MemoryJobs;
use crate::store::memory::keys::MemoryKeys;
use crate::store::memory::ledger::MemoryLedger;
use crate::store::memory::limits::MemoryLimits;
use crate::store::memory::quota::MemoryQuota;
use crate::store::memory::webhooks::MemoryEndpoints;
use crate::store::peppered::PepperedKeys;
#[cfg(feature = "postgres")]
use crate::store::postgres::PostgresStore;
use crate::store::quota::QuotaStore;
#[cfg(feature = "redis")]
use crate::store::redis::RedisQuota;
#[cfg(feature = "sqlite")]
use crate::store::sqlite::SqliteStore;
use crate::store::tables::{AuditStore, LimitStore};
use crate::store::webhooks::{ConfiguredEndpoints, EndpointStore};
use crate::webhook::{AnnouncedAlerts, Webhooks};

use super::file_keys::FileKeys;
use super::{Config, ConfigError};

/// Every store that a gateway needs. Start from those in memory and put your own in their places.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "a store for each trait")]
pub struct Stores {
    pub keys: Arc<dyn KeyStore>,
    pub key_admin: Arc<dyn KeyAdmin>,
    pub limits: Arc<dyn LimitStore>,
    pub quota: Arc<dyn QuotaStore>,
    pub sink: Arc<dyn UsageSink>,
    pub usage: Arc<dyn UsageStore>,
    /// What the counters raise; announced as soon as there are webhooks.
    pub alerts: AnnouncedAlerts,
    pub audit: Arc<dyn AuditStore>,
    pub jobs: Arc<dyn JobStore>,
    /// Part of the same store as the jobs.
    pub outbox: Arc<dyn Outbox>,
    pub endpoints: Arc<dyn EndpointStore>,
    pepper: Option<Pepper>,
    /// Tells of limits that other instances set.
    #[cfg(feature = "postgres")]
    shared: Option<Arc<PostgresStore>>,
    #[cfg(feature = "redis")]
    counters: Option<Arc<RedisQuota>>,
}

impl Stores {
    /// Everything in this process, and gone with it.
    pub fn memory(clock: Arc<dyn Clock>) -> Self {
        let (keys, ledger) = (Arc::new(MemoryKeys::new()), Arc::new(MemoryLedger::new()));
        let alerts = AnnouncedAlerts::new(Arc::new(MemoryAlerts::new()), keys.clone());
        let quota = MemoryQuota::with_ledger(ledger.clone()).alerts(Arc::new(alerts.clone())).clock(clock);
        let jobs = Arc::new(MemoryJobs::new());
        Self {
            keys: keys.clone(),
            key_admin: keys,
            limits: Arc::new(MemoryLimits::new()),
            quota: Arc::new(quota),
            sink: ledger.clone(),
            usage: ledger,
            alerts,
            audit: Arc::new(MemoryAudit::new()),
            jobs: jobs.clone(),
            outbox: jobs,
            endpoints: Arc::new(MemoryEndpoints::new()),
            pepper: None,
            #[cfg(feature = "postgres")]
            shared: None,
            #[cfg(feature = "redis")]
            counters: None,
        }
    }
}

#[cfg(feature = "sqlite")]
impl Stores {
    /// Everything in `store`'s file but the counters, which are in this process: rebuilt from the ledger and the open jobs.
    pub fn sqlite(store: SqliteStore, clock: Arc<dyn Clock>) -> Self {
        let store = Arc::new(store);
        let alerts = AnnouncedAlerts::new(store.clone(), store.clone());
        let quota = MemoryQuota::with_ledger(store.clone()).alerts(Arc::new(alerts.clone())).clock(clock);
        Self {
            keys: store.clone(),
            key_admin: store.clone(),
            limits: store.clone(),
            quota: Arc::new(quota),
            sink: store.clone(),
            usage: store.clone(),
            alerts,
            audit: store.clone(),
            jobs: store.clone(),
            outbox: store.clone(),
            endpoints: store,
            pepper: None,
            #[cfg(feature = "postgres")]
            shared: None,
            #[cfg(feature = "redis")]
            counters: None,
        }
    }
}

#[cfg(feature = "postgres")]
impl Stores {
    /// Everything in `store`'s database, shared by all instances on it.
    pub fn postgres(store: PostgresStore) -> Self {
        let store = Arc::new(store);
        Self {
            keys: Arc::new(Guarded::new(store.clone())),
            key_admin: store.clone(),
            limits: store.clone(),
            quota: Arc::new(Guarded::new(store.clone())),
            sink: store.clone(),
            usage: store.clone(),
            alerts: AnnouncedAlerts::new(store.clone(), store.clone()),
            audit: store.clone(),
            jobs: store.clone(),
            outbox: store.clone(),
            endpoints: store.clone(),
            pepper: None,
            shared: Some(store),
            #[cfg(feature = "redis")]
            counters: None,
        }
    }
}

#[cfg(feature = "redis")]
impl Stores {
    /// The same stores with their counters in Redis at `url`, shared by all instances on it.
    pub async fn with_redis(self, url: &str) -> Result<Self, StoreError> {
        let quota = RedisQuota::connect(url, Arc::clone(&self.usage)).await?.alerts(Arc::new(self.alerts.clone()));
        let quota = Arc::new(quota);
        Ok(Self { quota: Arc::new(Guarded::new(Arc::clone(&quota))), counters: Some(quota), ..self })
    }
}

impl Stores {
    /// Makes keys under this pepper, and checks them with it.
    #[must_use]
    pub fn pepper(self, pepper: Pepper) -> Self {
        let key_admin = Arc::new(PepperedKeys::new(self.key_admin, pepper.clone()));
        Self { key_admin, pepper: Some(pepper), ..self }
    }

    /// Waits until what was recorded and settled is where it is kept. For the host's last moments: SQLite does so by
    /// itself when it is dropped.
    pub async fn flush(&self) {
        #[cfg(feature = "redis")]
        if let Some(counters) = &self.counters {
            counters.flush().await;
        }
        #[cfg(feature = "postgres")]
        if let Some(shared) = &self.shared {
            shared.flush().await;
        }
    }
}

impl Config {
    /// The models of the configuration, each with its way to its vendor.
    pub fn registry(&self) -> Result<Registry, ConfigError> {
        let targets = self.models.iter().map(|model| {
            let path = || format!("models.{:?}", &*model.terms.id);
            let provider = self.providers.iter().find(|p| p.name == model.provider);
            let provider = provider.ok_or_else(|| ConfigError::new(path(), "names no provider of this file"))?;
            Ok(Target {
                provider: Arc::clone(&provider.name),
                codec: codec(provider.kind),
                base_url: provider.base_url.clone(),
                credential: Arc::new(provider.credential.clone()),
                upstream: Arc::clone(&model.upstream),
                terms: Arc::new(model.terms.clone()),
                timeouts: provider.timeouts,
                content_hosts: Arc::clone(&provider.content_hosts),
            })
        });
        let targets = targets.collect::<Result<Vec<_>, ConfigError>>()?;
        Registry::new(targets).map_err(|why| ConfigError::new("models", why))
    }

    /// The endpoints of the file, and behind them what is stored.
    fn endpoints(&self, stored: Arc<dyn EndpointStore>, now: Timestamp) -> Arc<dyn EndpointStore> {
        let fixed = self.webhooks.iter().enumerate().map(|(number, webhook)| {
            let endpoint = Endpoint {
                id: format!("config_{}", number + 1).into(),
                workspace: webhook.workspace.clone(),
                url: webhook.url.to_string().into(),
                events: webhook.events.clone(),
                allow_private: webhook.allow_private,
                created_at: now,
                disabled: false,
            };
            (endpoint, webhook.secrets.clone())
        });
        Arc::new(ConfiguredEndpoints::new(fixed.collect(), stored))
    }

    fn job_rules(&self) -> JobRules {
        let base = self.gateway.public_base_url.as_ref();
        JobRules {
            poll: self.jobs.poll,
            max_poll: self.jobs.max_poll,
            deadline: self.jobs.deadline,
            on_unknown: self.jobs.on_unknown,
            public_base_url: base.map(|url| url.to_string().trim_end_matches('/').to_owned()),
        }
    }

    /// A gateway with everything that the configuration says, but for what only the host can decide: the
    /// [`Drain`](crate::Drain) for `on_disconnect = "drain"`, and the [`Closing`](crate::Closing) switch.
    ///
    /// Puts the keys of the file into the store, and both the file's and the stored limits in force. Beside the builder
    /// come the video jobs, which are in it already, and the webhooks: the host spawns what both of them drive.
    pub async fn gateway<C: VendorClient>(
        &self,
        stores: Stores,
        client: C,
        host: impl Host + Clone,
        clock: Arc<dyn Clock>,
    ) -> Result<(GatewayBuilder<C>, VideoJobs, Webhooks), StoreError> {
        for key in &self.keys {
            let key = KeyRecord { created_at: clock.now(), ..key.clone() };
            stores.key_admin.insert(key).await?;
        }
        let book = Arc::new(LimitBook::default());
        load(&book, &self.limits, &*stores.limits).await?;
        #[cfg(feature = "postgres")]
        if let Some(shared) = &stores.shared {
            tokio::spawn(follow(Arc::downgrade(&book), self.limits.clone(), Arc::clone(shared)));
        }
        let registry = self.registry().map_err(|e| StoreError::unavailable(e.to_string()))?;
        let keys = FileKeys::<dyn KeyStore>::new(&self.keys, stores.keys);
        let mut auth = AuthLayer::new(keys).cache_for(self.gateway.key_cache).clock(Arc::clone(&clock));
        if let Some(pepper) = stores.pepper {
            auth = auth.pepper(pepper);
        }
        let endpoints = self.endpoints(stores.endpoints, clock.now());
        let webhooks = Webhooks::new(client.clone(), Arc::clone(&stores.outbox), Arc::clone(&endpoints), host.clone())
            .schedule(self.delivery.schedule.clone())
            .timeout(self.delivery.timeout)
            .clock(Arc::clone(&clock));
        stores.alerts.announce_to(webhooks.clone());
        let jobs = VideoJobs::new(registry.clone(), client.clone(), stores.jobs, Arc::clone(&stores.sink), host)
            .rules(self.job_rules())
            .webhooks(webhooks.clone())
            .quota(Arc::clone(&stores.quota))
            .clock(Arc::clone(&clock));
        jobs.resume().await?;
        let mut builder = Gateway::builder(registry, client)
            .auth(auth)
            .videos(jobs.clone())
            .ledger_parts(stores.sink, Arc::clone(&stores.usage))
            .quota(Arc::clone(&stores.quota), Arc::clone(&book))
            .on_store_failure(self.storage.on_store_failure)
            .abandoned(self.gateway.abandoned)
            .max_body_bytes(self.gateway.max_body_bytes)
            .clock(Arc::clone(&clock));
        if let Some(admin) = &self.admin {
            let stores = AdminStores {
                keys: Arc::new(FileKeys::<dyn KeyAdmin>::new(&self.keys, stores.key_admin)),
                limits: stores.limits,
                book,
                quota: stores.quota,
                usage: stores.usage,
                alerts: Arc::new(stores.alerts),
                audit: stores.audit,
                endpoints,
                outbox: stores.outbox,
            };
            builder = builder.admin(AdminService::new(admin.token.clone(), stores, clock));
        }
        Ok((builder, jobs, webhooks))
    }
}

/// Puts the file's limits and the stored ones in force.
async fn load(book: &LimitBook, file: &[Limit], stored: &dyn LimitStore) -> Result<(), StoreError> {
    let stored = stored.all().await?;
    book.load(file.iter().cloned().chain(stored)).map_err(StoreError::unavailable)
}

/// Reads the limits anew whenever another instance may have set some, for as long as the book is in use.
#[cfg(feature = "postgres")]
async fn follow(book: Weak<LimitBook>, file: Vec<Limit>, store: Arc<PostgresStore>) {
    let mut seen = 0;
    loop {
        seen = store.limits_changed(seen).await;
        let Some(book) = book.upgrade() else { return };
        if let Err(error) = load(&book, &file, &*store).await {
            log::store_failed("the limits of other instances cannot be read", &error);
        }
    }
}
