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

mod script;
mod settle;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use redis::Client;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::base::clock::Timestamp;
use crate::base::id::new_id;
use crate::base::store_future::StoreFuture;
use crate::domain::hold::LastingHold;
use crate::domain::limit::{Amounts, Limit, Measure, Per, Scope};
use crate::domain::window;
use crate::store::error::{StoreError, StoreErrorKind, StoreResult};
use crate::store::grant::Grant;
use crate::store::ledger::{PostedQuery, RecordFilter, UsageStore};
use crate::store::limit_name::limit_name;
use crate::store::queue::Queue;
use crate::store::quota::{
    Decision, Headroom, LimitState, QuotaStore, Refusal, RefusalWait, Reservation, Room, UNKEPT,
};
use crate::store::tables::{AlertStore, Page};
use crate::store::unclaimed::Unclaimed;

use self::script::{Ask, GrantFacts, LimitFacts, Op, Reply, Shown, micros, number};
use self::settle::{RedisTicket, Settlement};

/// The longest that an answer or a connection is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a ledger is asked again because requests were settled meanwhile, or Redis lost a counter again.
const TRIES: usize = 3;
/// Limits that are remembered as known at most.
const KNOWN: usize = 100_000;

/// A [`QuotaStore`] in Redis. Cheap to clone; its task ends with the last clone, once it has settled what was handed to it.
#[derive(Clone)]
pub struct RedisQuota(Arc<Handle>);

/// Closes the queue with the last clone.
struct Handle(Arc<Inner>);

struct Inner {
    connection: ConnectionManager,
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
        to_its_end(async move { inner.reserve(request).await.map(Unclaimed::new) }, |unclaimed| {
            unclaimed.claim().ok_or_else(|| StoreError::unavailable("the decision has been taken"))
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

/// Runs `work` to its end even if nobody waits for it any more: what it made must be undone then, not forgotten.
fn to_its_end<T: Send + 'static, U: Unpin + 'static>(
    work: impl Future<Output = StoreResult<T>> + Send + 'static,
    then: impl FnOnce(T) -> StoreResult<U> + Send + 'static,
) -> StoreFuture<StoreResult<U>> {
    StoreFuture::new(async move {
        match tokio::spawn(work).await {
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

    async fn reserve(self: &Arc<Self>, request: Reservation) -> StoreResult<Decision> {
        if self.overshoots.load(Ordering::Acquire) > 0 {
            self.queue.flush().await;
        }
        let was_busy = self.queue.is_busy();
        let decision = self.admit(&request).await?;
        if was_busy && matches!(decision, Decision::Refused(_)) {
            // What was given back before this request came counts for it.
            self.queue.flush().await;
            return self.admit(&request).await;
        }
        Ok(decision)
    }

    async fn admit(self: &Arc<Self>, request: &Reservation) -> StoreResult<Decision> {
        let workspace: Arc<str> = request.caller.home().workspace.as_str().into();
        let facts = GrantFacts::of(request);
        let limits = request.limits.iter().map(|limit| LimitFacts::of(limit)).collect();
        let id = new_id::<String>("g_");
        let lease = if request.lasting { UNKEPT } else { self.lease };
        let ask = Ask { id: Some(&id), grant: Some(&facts), limits, ..Ask::new(lease) };
        let answer = match self.call_seeded(Op::Admit, &workspace, &ask, &request.limits).await {
            Ok(answer) => answer,
            Err(error) => {
                // It may have been admitted all the same.
                self.queue.push_surely(Settlement::void(workspace, id));
                return Err(error);
            }
        };
        settle::raise(self, &answer);
        let headroom = headroom(&request.limits, &answer);
        if answer.word == "admitted" {
            let hold = request.lasting.then(|| request.lasting_hold(id.as_str().into(), micros(answer.now)));
            if hold.is_none() {
                self.open.insert(id.clone(), Open { workspace: Arc::clone(&workspace), facts: facts.at(answer.now) });
            }
            let ticket = RedisTicket { inner: Arc::clone(self), id, workspace, held: request.hold };
            let grant = match hold {
                Some(hold) => Grant::lasting(hold, ticket),
                None => Grant::new(request.hold, ticket),
            };
            return Ok(Decision::Admitted { grant, headroom });
        }
        let limit = usize::try_from(answer.which).ok().and_then(|n| request.limits.get(n.checked_sub(1)?));
        let limit = limit.ok_or_else(|| StoreError::unavailable("Redis: the script's answer names no limit"))?;
        let wait = match answer.word.as_str() {
            "after" => RefusalWait::After(Duration::from_micros(answer.wait)),
            "soon" => RefusalWait::Soon,
            "never" => RefusalWait::Never,
            _ => RefusalWait::TooLarge,
        };
        Ok(Decision::Refused(Refusal { limit: Arc::clone(limit), wait, headroom }))
    }

    async fn state(&self, limit: Arc<Limit>, now: Timestamp) -> StoreResult<LimitState> {
        self.queue.flush().await;
        let Some(workspace) = self.workspace_of(&limit).await? else {
            let resets_at = limit.key.per.map(|per| match per {
                Per::Day | Per::Month | Per::Total => window::end(per, now),
                _ => Some(now),
            });
            let remaining = limit.amount;
            return Ok(LimitState { limit, used: 0, reserved: 0, remaining, resets_at: resets_at.flatten() });
        };
        let ask = Ask { limits: vec![LimitFacts::of(&limit)], ..Ask::new(self.lease) };
        let answer = self.call_seeded(Op::State, &workspace, &ask, std::slice::from_ref(&limit)).await?;
        let Some(Shown { used, reserved, remaining, resets_at }) = answer.shown.first().copied() else {
            return Err(StoreError::unavailable("Redis: the script's answer holds no state"));
        };
        Ok(LimitState { limit, used, reserved, remaining, resets_at: resets_at.map(micros) })
    }

    /// A key does not say its workspace; the ledger knows it, once the key has been used.
    async fn workspace_of(&self, limit: &Limit) -> StoreResult<Option<Arc<str>>> {
        match &limit.key.scope {
            Scope::Workspace(w) | Scope::Team(w, _) | Scope::Project(w, _) | Scope::Environment(w, ..) => {
                Ok(Some(w.as_str().into()))
            }
            Scope::Key(id) => {
                let filter = RecordFilter { key: Some(id.to_string()), ..RecordFilter::default() };
                let page = self.ledger.records(filter, Page { after: None, limit: 1 }).await?;
                Ok(page.items.first().map(|record| record.home.workspace.as_str().into()))
            }
        }
    }

    /// Calls the script, once all counters are there and known here.
    async fn call_seeded(&self, op: Op, workspace: &str, ask: &Ask<'_>, limits: &[Arc<Limit>]) -> StoreResult<Reply> {
        let corrections = self.ledger.corrections();
        if self.corrected.swap(corrections, Ordering::AcqRel) != corrections {
            self.known.clear();
        }
        if !limits.iter().all(|limit| self.knows(limit)) {
            // What has ended is in the ledger that is asked now: held on, it would be posted once more.
            self.queue.flush().await;
            let _turn = self.turn().await?;
            for limit in limits.iter().filter(|limit| !self.knows(limit)) {
                self.seed(workspace, limit).await?;
                if self.known.len() >= KNOWN {
                    self.known.clear();
                }
                self.known.insert(limit_name(limit), Arc::clone(limit));
            }
        }
        for _ in 0..TRIES {
            let answer = self.call(op, workspace, ask).await?;
            if answer.word != "unseeded" {
                return Ok(answer);
            }
            let _turn = self.turn().await?;
            let answer = self.call(op, workspace, ask).await?;
            if answer.word != "unseeded" {
                return Ok(answer);
            }
            for limit in limits {
                self.seed(workspace, limit).await?;
            }
        }
        Err(StoreError::unavailable("Redis loses its counters again and again"))
    }

    fn knows(&self, limit: &Arc<Limit>) -> bool {
        self.known.get(&limit_name(limit)).is_some_and(|known| Arc::ptr_eq(&known, limit))
    }

    /// Waits for its turn to seed: of those who come together, one asks the ledger.
    async fn turn(&self) -> StoreResult<SemaphorePermit<'_>> {
        self.seeding.acquire().await.map_err(|_| StoreError::unavailable("the quota store is closed"))
    }

    /// Lets a limit's counter know what passed before it or while it was away.
    async fn seed(&self, workspace: &str, limit: &Arc<Limit>) -> StoreResult<()> {
        let own = self.own(workspace);
        let limits = || vec![LimitFacts::of(limit)];
        let ask = Ask { limits: limits(), own, ..Ask::new(self.lease) };
        let met = self.call(Op::Meet, workspace, &ask).await;
        self.bury(workspace, &ask.own);
        let met = met?;
        settle::raise(self, &met);
        let (mut from, mut mark) = (met.from, met.mark);
        let is_rate = matches!(limit.key.per, Some(Per::Second | Per::Minute | Per::Hour));
        for tries in 1..=TRIES {
            let Some(since) = from else { return Ok(()) };
            let query = PostedQuery { key: limit.key.clone(), from: micros(since), each: is_rate };
            let posted = self.ledger.posted(query).await.map_err(|error| match error.kind() {
                StoreErrorKind::Unavailable => error,
                _ => StoreError::unavailable(format!("the ledger cannot tell what a limit has used: {error}")),
            })?;
            let posted = script::posted(&limit.key, &posted);
            let force = tries == TRIES;
            let ask = Ask { limits: limits(), posted, mark, from: since, force, ..Ask::new(self.lease) };
            let answer = self.call(Op::Seed, workspace, &ask).await?;
            if answer.word != "again" {
                return Ok(());
            }
            (from, mark) = (answer.from, answer.mark);
        }
        Ok(())
    }

    /// This instance's open grants in a workspace.
    fn own(&self, workspace: &str) -> Vec<(String, GrantFacts)> {
        let of = self.open.iter().filter(|open| &*open.workspace == workspace);
        of.map(|open| (open.key().clone(), open.facts.clone())).collect()
    }

    /// Voids those of `own` that were settled while they may have been put back.
    fn bury(&self, workspace: &str, own: &[(String, GrantFacts)]) {
        for (id, _) in own.iter().filter(|(id, _)| !self.open.contains_key(id)) {
            self.queue.push_surely(Settlement::void(workspace.into(), id.clone()));
        }
    }

    async fn call(&self, op: Op, workspace: &str, ask: &Ask<'_>) -> StoreResult<Reply> {
        script::call(&mut self.connection.clone(), op, workspace, ask).await
    }
}

fn headroom(limits: &[Arc<Limit>], answer: &Reply) -> Headroom {
    let told = limits.iter().zip(&answer.shown).filter(|(limit, _)| Headroom::tells(limit));
    told.map(|(limit, shown)| Room {
        limit: Arc::clone(limit),
        remaining: shown.remaining,
        resets_in: shown.resets_at.map(|at| Duration::from_micros(at.saturating_sub(answer.now))),
    })
    .collect()
}

/// Amounts by the words of their measures.
fn by_measure(amounts: &Amounts) -> HashMap<&'static str, String> {
    const ALL: [Measure; 10] = [
        Measure::Requests,
        Measure::Tokens,
        Measure::InputTokens,
        Measure::OutputTokens,
        Measure::Spend,
        Measure::Images,
        Measure::VideoSeconds,
        Measure::AudioSeconds,
        Measure::Characters,
        Measure::Concurrency,
    ];
    ALL.into_iter().map(|measure| (measure.as_str(), number(amounts.of(measure)))).collect()
}
