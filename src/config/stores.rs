//! The stores of a gateway, all of one kind or of several.

use std::sync::Arc;

use crate::base::clock::Clock;
use crate::domain::pepper::Pepper;
#[cfg(feature = "redis")]
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
use crate::store::webhooks::EndpointStore;
use crate::webhook::AnnouncedAlerts;

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
    pub(super) behind: Behind,
}

/// What the stores are made of, where more is asked of that than the traits tell.
#[derive(Clone, Debug, Default)]
pub(super) struct Behind {
    pub(super) pepper: Option<Pepper>,
    /// What stands behind `key_admin` where that peppers.
    bare_keys: Option<Arc<dyn KeyAdmin>>,
    /// Tells of limits that other instances set.
    #[cfg(feature = "postgres")]
    pub(super) shared: Option<Arc<PostgresStore>>,
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
            behind: Behind::default(),
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
            behind: Behind::default(),
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
            behind: Behind { shared: Some(store), ..Behind::default() },
        }
    }
}

#[cfg(feature = "redis")]
impl Stores {
    /// The same stores with their counters in Redis at `url`, shared by all instances on it.
    pub async fn with_redis(self, url: &str) -> Result<Self, StoreError> {
        let quota = RedisQuota::connect(url, Arc::clone(&self.usage)).await?.alerts(Arc::new(self.alerts.clone()));
        let quota = Arc::new(quota);
        let behind = Behind { counters: Some(Arc::clone(&quota)), ..self.behind };
        Ok(Self { quota: Arc::new(Guarded::new(quota)), behind, ..self })
    }
}

impl Stores {
    /// Makes keys under this pepper, and checks them with it. Said again, the last pepper counts. A `key_admin` of your own
    /// is put in place before.
    #[must_use]
    pub fn pepper(self, pepper: Pepper) -> Self {
        let bare_keys = self.behind.bare_keys.unwrap_or(self.key_admin);
        let key_admin = Arc::new(PepperedKeys::new(Arc::clone(&bare_keys), pepper.clone()));
        let behind = Behind { bare_keys: Some(bare_keys), pepper: Some(pepper), ..self.behind };
        Self { key_admin, behind, ..self }
    }

    /// Waits until what was recorded and settled is where it is kept. For the host's last moments: SQLite does so by
    /// itself when it is dropped.
    pub async fn flush(&self) {
        #[cfg(feature = "redis")]
        if let Some(counters) = &self.behind.counters {
            counters.flush().await;
        }
        #[cfg(feature = "postgres")]
        if let Some(shared) = &self.behind.shared {
            shared.flush().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::{SystemClock, Timestamp};
    use crate::domain::key::NewKey;

    #[test]
    fn a_pepper_that_is_said_twice_is_used_once() {
        let pepper = |text: &str| Pepper::new(text).unwrap();
        let stores = Stores::memory(Arc::new(SystemClock::new()));
        let stores = stores.pepper(pepper("another one: 24 bytes it")).pepper(pepper("a pepper of 19 byte"));
        let (_, record) = NewKey::new("acme", "site").unwrap().mint(Timestamp::EPOCH);
        let bare = record.digest;
        let kept = stores.key_admin.insert(record).now().ok().unwrap().unwrap();
        assert_eq!(kept.digest, pepper("a pepper of 19 byte").of(&bare));
    }
}
