//! Quota counters in Redis, shared by many instances.
//!
//! A whole admit, over any number of limits, is one call of one Lua script on the server's clock: every enforced limit has
//! room and all are held, or nothing changes. All keys of a workspace share a hash tag, so that they live on one node of
//! a cluster.
//!
//! ```no_run
//! use std::sync::Arc;
//! use kancy::store::guarded::Guarded;
//! use kancy::store::redis::RedisQuota;
//! use kancy::{MemoryLedger, UsageStore};
//!
//! # async fn start(ledger: Arc<dyn UsageStore>) -> Result<(), kancy::StoreError> {
//! let quota = Guarded::new(RedisQuota::connect("redis://127.0.0.1:6379", ledger).await?);
//! # let _ = quota;
//! # Ok(())
//! # }
//! ```
//!
//! *Redis forgets.* A counter that is not there starts from what the ledger posts to its window, and from the holds that
//! the instances know to be open: an empty Redis is never a fresh budget.
//! *Instances die.* A hold is a lease that its instance renews; when it stops, the script posts the hold and frees the slot.
//! The hold of a video job is kept by whoever looks at the job, and put back where Redis has lost it; that it was settled
//! is remembered for an hour.
//! *Bounds.* The script's numbers are exact up to 2⁵³ − 1; larger amounts are taken for that: a spend limit above
//! 9,007,199 dollars is kept at that.
//! The connection goes to one server (or a proxy before a cluster) and is not encrypted.

mod counters;
mod script;
mod seeding;
mod settle;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use redis::Client;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::runtime::Handle as Runtime;
use tokio::sync::Semaphore;

use crate::base::clock::Timestamp;
use crate::base::store_future::StoreFuture;
use crate::domain::hold::LastingHold;
use crate::domain::limit::{Amounts, Limit, Measure};
use crate::store::error::{StoreError, StoreErrorKind, StoreResult};
use crate::store::ledger::UsageStore;
use crate::store::limit_name::limit_name;
use crate::store::queue::Queue;
use crate::store::quota::{Decision, LimitState, QuotaStore, Reservation};
use crate::store::tables::AlertStore;
use crate::store::unclaimed::Unclaimed;

use self::script::{Ask, GrantFacts, Op, Reply, number};
use self::settle::Settlement;

/// The longest that an answer or a connection is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// A [`QuotaStore`] in Redis. Cheap to clone; its task ends with the last clone, once it has settled what was handed to it.
#[derive(Clone)]
pub struct RedisQuota(Arc<Handle>);

/// Closes the queue with the last clone.
struct Handle(Arc<Inner>);

struct Inner {
    connection: ConnectionManager,
    runtime: Runtime,
    ledger: Arc<dyn UsageStore>,
    queue: Arc<Queue<Settlement>>,
    /// Settlements in the queue that came to more than they held: who asks after them must see them.
    overshoots: AtomicUsize,
    /// This instance's open grants, by id: renewed while they run.
    open: DashMap<String, Open>,
    /// The limits as this instance has last seen them. One that comes as another value may have been away meanwhile.
    known: DashMap<String, Arc<Limit>>,
    /// The ledger's corrections that `known` knows of.
    corrected: AtomicU64,
    seeding: Semaphore,
    alerts: Mutex<Option<Arc<dyn AlertStore>>>,
    lease: Duration,
}

struct Open {
    workspace: Arc<str>,
    facts: GrantFacts,
}

impl RedisQuota {
    /// Connects to the server at `url` (`redis://user:password@host:6379/0`). Counters that it does not have are rebuilt
    /// from `ledger`. Must run within a tokio runtime, which then runs the store's task.
    pub async fn connect(url: &str, ledger: Arc<dyn UsageStore>) -> StoreResult<Self> {
        Self::connect_with(url, ledger, Duration::from_secs(15)).await
    }

    /// As [`connect`](Self::connect); holds of an instance that is not heard of for `lease` are posted. The same on all
    /// instances.
    pub async fn connect_with(url: &str, ledger: Arc<dyn UsageStore>, lease: Duration) -> StoreResult<Self> {
        // The URL, which may hold a password, goes into no error.
        let client = Client::open(url).map_err(|_| {
            StoreError::new(
                StoreErrorKind::Refused,
                "the Redis URL cannot be read: write redis://user:password@host:6379/0",
            )
        })?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_number_of_retries(1);
        let connection = client.get_connection_manager_with_config(config).await.map_err(|e| failed(&e))?;
        let inner = Arc::new(Inner {
            connection,
            runtime: Runtime::current(),
            ledger,
            queue: Arc::new(Queue::new()),
            overshoots: AtomicUsize::new(0),
            open: DashMap::new(),
            known: DashMap::new(),
            corrected: AtomicU64::new(0),
            seeding: Semaphore::new(1),
            alerts: Mutex::new(None),
            lease,
        });
        tokio::spawn(settle::run(Arc::clone(&inner)));
        Ok(Self(Arc::new(Handle(inner))))
    }

    /// Where alerts are raised when posted use crosses a threshold.
    #[must_use]
    pub fn alerts(self, alerts: Arc<dyn AlertStore>) -> Self {
        *self.0.0.raised_to() = Some(alerts);
        self
    }

    /// Waits until all settlements that were handed over before have been tried.
    pub async fn flush(&self) {
        self.0.0.queue.flush().await;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.queue.close();
    }
}

impl fmt::Debug for RedisQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisQuota").field("open", &self.0.0.open.len()).finish_non_exhaustive()
    }
}

impl QuotaStore for RedisQuota {
    fn reserve(&self, request: Reservation) -> StoreFuture<StoreResult<Decision>> {
        let inner = Arc::clone(&self.0.0);
        to_its_end(&self.0.0.runtime, async move { inner.reserve(request).await.map(Unclaimed::new) }, |unclaimed| {
            Ok(unclaimed.claim())
        })
    }

    fn keep(&self, holds: Vec<LastingHold>, lease: Duration) -> StoreFuture<StoreResult<()>> {
        let inner = Arc::clone(&self.0.0);
        StoreFuture::new(async move { settle::keep(&inner, &holds, lease).await })
    }

    fn settle(&self, hold: LastingHold, used: Option<Amounts>) -> StoreFuture<StoreResult<()>> {
        let inner = Arc::clone(&self.0.0);
        StoreFuture::new(async move { settle::settle(&inner, &[Settlement::of(&hold, used)]).await })
    }

    fn state(&self, limits: Vec<Arc<Limit>>, now: Timestamp) -> StoreFuture<StoreResult<Vec<LimitState>>> {
        let inner = Arc::clone(&self.0.0);
        StoreFuture::new(async move {
            let mut states = Vec::with_capacity(limits.len());
            for limit in limits {
                states.push(inner.state(limit, now).await?);
            }
            Ok(states)
        })
    }

    fn missed(&self, limits: &[Arc<Limit>]) {
        limits.iter().for_each(|limit| drop(self.0.0.known.remove(&limit_name(limit))));
    }
}

/// Runs `work` to its end even if nobody waits for it any more: what it made must be undone then, not forgotten. It runs
/// on the store's own `runtime`, where a connection that it makes outlives those that the host serves on.
fn to_its_end<T: Send + 'static, U: Unpin + 'static>(
    runtime: &Runtime,
    work: impl Future<Output = StoreResult<T>> + Send + 'static,
    then: impl FnOnce(T) -> StoreResult<U> + Send + 'static,
) -> StoreFuture<StoreResult<U>> {
    let runtime = runtime.clone();
    StoreFuture::new(async move {
        match runtime.spawn(work).await {
            Ok(done) => done.and_then(then),
            Err(_) => Err(StoreError::unavailable("the quota store's task has ended")),
        }
    })
}

/// What Redis reports. Its texts hold no data of ours.
fn failed(error: &redis::RedisError) -> StoreError {
    StoreError::unavailable(format!("Redis: {error}"))
}

impl Inner {
    fn raised_to(&self) -> MutexGuard<'_, Option<Arc<dyn AlertStore>>> {
        self.alerts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(&self, op: Op, workspace: &str, ask: &Ask<'_>) -> StoreResult<Reply> {
        script::call(&mut self.connection.clone(), op, workspace, ask).await
    }
}

/// Amounts by the words of their measures.
fn by_measure(amounts: &Amounts) -> HashMap<&'static str, String> {
    Measure::ALL.into_iter().map(|measure| (measure.as_str(), number(amounts.of(measure)))).collect()
}
