//! Keys, limits, ledger, quota counters, video jobs and webhooks in one PostgreSQL database that many instances share.
//!
//! ```no_run
//! use kancy::store::postgres::PostgresStore;
//! # async fn start() -> Result<(), kancy::StoreError> {
//! let store = PostgresStore::connect("postgres://kancy@db.internal/kancy").await?;
//! # let _ = store;
//! # Ok(())
//! # }
//! ```
//!
//! *Ledger.* Rows are written by one task, as many at a time as have come meanwhile, so that many requests share a commit.
//! *Counters.* An admit over any number of limits is one transaction under the lock of its workspace, on the server's
//! clock; requests that come at the same time share it.
//! *Keys.* A change is told to every instance by `NOTIFY`; while the ear for it is broken, the epoch grows on and on, so
//! that no cache is trusted.
//! *Jobs.* Work is leased: many instances share it, and what one of them had is taken up by another when the lease ends.
//! *Crashes.* Each instance keeps a heartbeat. When it stops, the others post what that instance had running at what it
//! held, and free its slots: nothing that a vendor may have billed is lost.
//!
//! The connection is not encrypted: use a private network or a local proxy.

mod connect;
mod instances;
mod jobs;
mod keys;
mod ledger;
mod listen;
mod migrate;
mod outbox;
mod quota;
mod reports;
mod row;
mod tables;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio_postgres::config::SslMode;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, Row};

use crate::base::clock::Timestamp;
use crate::base::id::new_id;

use super::error::{StoreError, StoreErrorKind, StoreResult};
use super::sql::{signed, unsigned};
use super::tables::AlertStore;

use ledger::Ledger;

/// The longest that a statement or a connection is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// The server gives up as well: whoever is given the connection next shall not wait for what nobody wants any more.
const GIVE_UP: &str = "SET statement_timeout = '5s'";

/// How a [`PostgresStore`] works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PostgresOptions {
    /// Whether holds and records are committed before requests go on; true unless set.
    pub durable: bool,
    /// Connections at most, beside the one that listens; 8 unless set, never fewer than 3.
    pub connections: usize,
    /// An instance whose heartbeat is older is taken for dead; 15 s unless set. The same on all instances.
    pub stale_after: Duration,
    /// Where alerts are raised; in the store's own table unless set.
    pub alerts: Option<Arc<dyn AlertStore>>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { durable: true, connections: 8, stale_after: Duration::from_secs(15), alerts: None }
    }
}

/// Stores keys, limits, ledger, alerts, audit trail, quota counters, jobs, outbox and webhook endpoints in PostgreSQL.
/// Cheap to clone.
///
/// Its tasks end with the last clone, once they have written what was handed to them.
#[derive(Clone)]
pub struct PostgresStore(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    ledger: Arc<Ledger>,
    quota: Arc<quota::QuotaQueue>,
    touches: Arc<instances::Touches>,
    alerts: Option<Arc<dyn AlertStore>>,
}

/// What the store's tasks share with it.
struct Shared {
    pool: Pool,
    /// The one that the store was made on: its tasks and its connections are there.
    runtime: Handle,
    /// This instance, among those that share the database.
    instance: String,
    key_epoch: AtomicU64,
    limits: watch::Sender<u64>,
    /// The names of limits, and workspaces, whose counters have missed what the ledger has.
    missed: Mutex<HashSet<String>>,
    /// How often rows were ended here in the stead of an instance that is gone.
    corrections: AtomicU64,
    /// What reports may have of the connections: a heartbeat must never wait for them.
    reporting: Semaphore,
    durable: bool,
    closed: watch::Sender<bool>,
}

impl PostgresStore {
    /// Connects to the database at `url` and brings its tables up to this version. Must run within a tokio runtime, which
    /// then runs the store's tasks.
    pub async fn connect(url: &str) -> StoreResult<Self> {
        Self::connect_with(url, PostgresOptions::default()).await
    }

    /// Connects with options.
    pub async fn connect_with(url: &str, options: PostgresOptions) -> StoreResult<Self> {
        let config = read_url(url)?;
        let connections = options.connections.max(3);
        let runtime = Handle::current();
        let pool = pool(config.clone(), connections, runtime.clone())?;
        migrate::run(&mut *client(&pool).await?).await?;
        let shared = Arc::new(Shared {
            pool,
            runtime,
            instance: new_id("i_"),
            key_epoch: AtomicU64::new(0),
            limits: watch::Sender::new(0),
            missed: Mutex::default(),
            corrections: AtomicU64::new(0),
            reporting: Semaphore::new(connections / 2),
            durable: options.durable,
            closed: watch::Sender::new(false),
        });
        instances::beat(&shared).await?;
        let inner = Inner {
            ledger: Arc::new(Ledger::new()),
            quota: Arc::new(quota::queue()),
            touches: Arc::default(),
            alerts: options.alerts,
            shared,
        };
        let store = Self(Arc::new(inner));
        let Inner { shared, ledger, quota, touches, .. } = &*store.0;
        let reports = reports::Reports { shared: Arc::clone(shared), ledger: Arc::clone(ledger) };
        tokio::spawn(ledger::run(Arc::clone(shared), Arc::clone(ledger)));
        tokio::spawn(quota::run(Arc::clone(shared), Arc::clone(quota), reports, store.0.alerts.clone()));
        tokio::spawn(listen::run(Arc::clone(shared), config));
        tokio::spawn(instances::run(Arc::clone(shared), Arc::clone(quota), Arc::clone(touches), options.stale_after));
        Ok(store)
    }

    /// Waits until all records and settlements that were handed over before are committed, or have failed once.
    pub async fn flush(&self) {
        self.0.quota.flush().await;
        self.0.ledger.flush().await;
    }

    /// Waits until limits may have been set since `seen`, by whatever instance, and returns the number to wait with next;
    /// start with 0. Whoever keeps a [`LimitBook`](crate::LimitBook) reads the limits anew then.
    pub async fn limits_changed(&self, seen: u64) -> u64 {
        let mut limits = self.0.shared.limits.subscribe();
        // The sender lives as long as `self`.
        limits.wait_for(|now| *now != seen).await.map_or(seen, |now| *now)
    }

    fn reports(&self) -> reports::Reports {
        reports::Reports { shared: Arc::clone(&self.0.shared), ledger: Arc::clone(&self.0.ledger) }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.ledger.close();
        self.quota.close();
        self.shared.closed.send_replace(true);
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { instance, durable, .. } = &*self.0.shared;
        f.debug_struct("PostgresStore").field("instance", instance).field("durable", durable).finish()
    }
}

impl Shared {
    async fn client(&self) -> StoreResult<Object> {
        client(&self.pool).await
    }

    /// All rows of a statement, which is prepared once a connection.
    async fn query(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> StoreResult<Vec<Row>> {
        let client = self.client().await?;
        let statement = client.prepare_cached(sql).await.map_err(|e| failed(&e))?;
        client.query(&statement, values).await.map_err(|e| failed(&e))
    }

    /// How many rows a statement changed.
    async fn execute(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> StoreResult<u64> {
        let client = self.client().await?;
        let statement = client.prepare_cached(sql).await.map_err(|e| failed(&e))?;
        client.execute(&statement, values).await.map_err(|e| failed(&e))
    }

    fn missed(&self) -> MutexGuard<'_, HashSet<String>> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key_changed(&self) {
        self.key_epoch.fetch_add(1, Ordering::AcqRel);
    }

    fn limits_changed(&self) {
        self.limits.send_modify(|n| *n += 1);
    }
}

/// Reads the URL. Its text, which may hold a password, goes into no error.
fn read_url(url: &str) -> StoreResult<Config> {
    let refused = |why: &str| StoreError::new(StoreErrorKind::Refused, why);
    let mut config: Config = url
        .parse()
        .map_err(|_| refused("the PostgreSQL URL cannot be read: write postgres://user:password@host:5432/database"))?;
    if !matches!(config.get_ssl_mode(), SslMode::Disable | SslMode::Prefer) {
        return Err(refused(
            "the PostgreSQL URL asks for TLS, which this store does not speak: use sslmode=disable on a private network or through a local TLS proxy",
        ));
    }
    config.application_name("kancy");
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(PATIENCE);
    }
    Ok(config)
}

fn pool(config: Config, connections: usize, runtime: Handle) -> StoreResult<Pool> {
    let manager =
        Manager::from_connect(config, connect::On(runtime), ManagerConfig { recycling_method: RecyclingMethod::Fast });
    let timeouts = Timeouts { wait: Some(PATIENCE), create: Some(PATIENCE), recycle: Some(PATIENCE) };
    Pool::builder(manager)
        .max_size(connections)
        .post_create(Hook::async_fn(|client, _| {
            Box::pin(async move { client.batch_execute(GIVE_UP).await.map_err(HookError::Backend) })
        }))
        .runtime(Runtime::Tokio1)
        .timeouts(timeouts)
        .build()
        .map_err(|e| StoreError::unavailable(format!("PostgreSQL: {e}")))
}

async fn client(pool: &Pool) -> StoreResult<Object> {
    pool.get().await.map_err(|e| match e {
        deadpool_postgres::PoolError::Backend(e) => failed(&e),
        deadpool_postgres::PoolError::Timeout(_) => StoreError::unavailable("PostgreSQL does not answer"),
        e => StoreError::unavailable(format!("PostgreSQL: {e}")),
    })
}

/// What PostgreSQL reports, by meaning. Its texts hold no data of ours.
fn failed(error: &tokio_postgres::Error) -> StoreError {
    let Some(db) = error.as_db_error() else {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        return StoreError::unavailable(format!("PostgreSQL: {error}{cause}"));
    };
    // Classes 22 and 23: it is the value that will not do, now and ever.
    let is_value = db.code().code().starts_with("22") || db.code().code().starts_with("23");
    let kind = if is_value { StoreErrorKind::Refused } else { StoreErrorKind::Unavailable };
    StoreError::new(kind, format!("PostgreSQL: {} ({})", db.message(), db.code().code()))
}

/// Gives up what takes longer than anybody should wait.
async fn patient<T>(work: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => Err(StoreError::unavailable("PostgreSQL does not answer")),
    }
}

/// A time as it is stored.
fn nanos(at: Timestamp) -> i64 {
    signed(at.as_nanos())
}
