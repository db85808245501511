//! Quota counters in this process's memory.
//!
//! All counters of one workspace stand behind one short lock, so an admit over any number of limits is one critical
//! section: every enforced limit has room and all of them are held, or nothing changes. No lock is kept across an await,
//! and where the counters are known nothing is awaited at all.
//!
//! A process forgets its counters with itself. [`MemoryQuota::with_ledger`] fills that gap: a counter that is new here
//! starts from what the ledger posts to its window, so that neither a restart nor removing and re-adding a limit resets
//! a cap.
//!
//! ```
//! use std::sync::Arc;
//! use kancy::LimitBook;
//! use kancy::quota::QuotaLayer;
//! use kancy::store::memory::quota::MemoryQuota;
//!
//! let book = Arc::new(LimitBook::default());
//! let layer = QuotaLayer::new(MemoryQuota::new(), book);
//! # let _ = layer;
//! ```

mod seed;
mod shard;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::clock::{Clock, SystemClock, Timestamp};
use crate::base::store_future::StoreFuture;
use crate::domain::alert::Alert;
use crate::domain::hold::LastingHold;
use crate::domain::limit::{Amounts, Limit, Scope};
use crate::domain::name::Name;
use crate::store::counter::Counter;
use crate::store::error::{StoreError, StoreResult};
use crate::store::grant::{Grant, Numbered, Ticket};
use crate::store::ledger::{PostedQuery, UsageStore};
use crate::store::quota::{Decision, LimitState, QuotaStore, Reservation};
use crate::store::tables::AlertStore;

use self::shard::{Attempt, Shard};

/// More than any machine has threads that reserve at one instant.
const SHARDS: usize = 64;

/// A [`QuotaStore`] in this process's memory. Cheap to clone; every clone is the same store.
#[derive(Clone)]
pub struct MemoryQuota(Arc<Shared>);

struct Shared {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    overshoots: AtomicU64,
    sides: Sides,
}

/// What a store works with beside its counters.
#[derive(Clone)]
struct Sides {
    ledger: Option<Arc<dyn UsageStore>>,
    alerts: Option<Arc<dyn AlertStore>>,
    clock: Arc<dyn Clock>,
}

impl MemoryQuota {
    /// Counters that start from zero.
    pub fn new() -> Self {
        Self::with(Sides { ledger: None, alerts: None, clock: Arc::new(SystemClock::new()) })
    }

    /// Counters that start from what `ledger` posts to their windows.
    pub fn with_ledger(ledger: Arc<dyn UsageStore>) -> Self {
        Self::with(Sides { ledger: Some(ledger), ..Self::new().0.sides.clone() })
    }

    /// Where alerts are raised when posted use crosses a threshold. To be set before the store is used.
    #[must_use]
    pub fn alerts(self, alerts: Arc<dyn AlertStore>) -> Self {
        Self::with(Sides { alerts: Some(alerts), ..self.0.sides.clone() })
    }

    /// The clock that alerts are dated by; windows go by the time of each reservation. To be set before the store is used.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        Self::with(Sides { clock: Arc::new(clock), ..self.0.sides.clone() })
    }

    fn with(sides: Sides) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard::new())).collect();
        Self(Arc::new(Shared { shards, hasher: RandomState::new(), overshoots: AtomicU64::new(0), sides }))
    }

    /// How many settlements came to more than they held of some limit. It stays 0 while vendors keep to the bounds that
    /// they are sent.
    pub fn overshoots(&self) -> u64 {
        self.0.overshoots.load(Ordering::Relaxed)
    }

    /// How many counters are kept. It follows the limits in use, not the requests.
    pub fn counters(&self) -> usize {
        (0..SHARDS).map(|shard| self.0.lock(shard).counters()).sum()
    }
}

impl Default for MemoryQuota {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_ledger = self.0.sides.ledger.is_some();
        f.debug_struct("MemoryQuota").field("counters", &self.counters()).field("ledger", &has_ledger).finish()
    }
}

impl QuotaStore for MemoryQuota {
    fn reserve(&self, reservation: Reservation) -> StoreFuture<StoreResult<Decision>> {
        let shard = self.0.shard_of(&reservation.caller.home().workspace);
        let (mut unseeded, ledger) = match (self.0.try_reserve(shard, &reservation), &self.0.sides.ledger) {
            (Ok(decision), _) => return StoreFuture::ready(Ok(decision)),
            (Err(limit), Some(ledger)) => (limit, Arc::clone(ledger)),
            // Without a ledger every counter is ready.
            (Err(_), None) => return StoreFuture::ready(Err(StoreError::unavailable("a counter has no ledger"))),
        };
        let shared = Arc::clone(&self.0);
        StoreFuture::new(async move {
            loop {
                seed::seed(&shared, &ledger, shard, &unseeded).await?;
                match shared.try_reserve(shard, &reservation) {
                    Ok(decision) => return Ok(decision),
                    Err(limit) => unseeded = limit,
                }
            }
        })
    }

    fn keep(&self, holds: Vec<LastingHold>, _: Duration) -> StoreFuture<StoreResult<()>> {
        let has_ledger = self.0.sides.ledger.is_some();
        for hold in holds {
            self.0.lock(self.0.shard_of(&hold.home.workspace)).keep(hold, has_ledger);
        }
        StoreFuture::ready(Ok(()))
    }

    fn settle(&self, hold: LastingHold, used: Option<Amounts>) -> StoreFuture<StoreResult<()>> {
        self.0.settle_lasting(self.0.shard_of(&hold.home.workspace), &hold.id, used);
        StoreFuture::ready(Ok(()))
    }

    fn state(&self, limits: Vec<Arc<Limit>>, now: Timestamp) -> StoreFuture<StoreResult<Vec<LimitState>>> {
        let Some(ledger) = &self.0.sides.ledger else {
            return StoreFuture::ready(Ok(limits.iter().map(|limit| self.0.draft(limit, now).0.state(now)).collect()));
        };
        let (shared, ledger) = (Arc::clone(&self.0), Arc::clone(ledger));
        StoreFuture::new(async move {
            let mut states = Vec::with_capacity(limits.len());
            for limit in &limits {
                let (mut draft, asks, open) = shared.draft(limit, now);
                if let Some(from) = draft.ledger_from(now).filter(|_| asks) {
                    let query = PostedQuery { key: limit.key.clone(), from, each: draft.is_rate() };
                    draft.absorb(&seed::ask(&ledger, query).await?, 0, &open, now);
                }
                states.push(draft.state(now));
            }
            Ok(states)
        })
    }
}

impl Shared {
    fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard_of(&self, workspace: &Name) -> usize {
        self.hasher.hash_one(workspace) as usize % SHARDS
    }

    /// The decision, or a limit that must be seeded first.
    fn try_reserve(self: &Arc<Self>, shard: usize, request: &Reservation) -> Result<Decision, Arc<Limit>> {
        let mut held = self.lock(shard);
        match held.reserve(request, self.sides.ledger.is_some()) {
            Attempt::Admitted(grant, headroom) => {
                let shared = Arc::clone(self);
                let grant = if request.lasting {
                    let hold = held.make_last(grant, request);
                    let id = Arc::clone(&hold.id);
                    Grant::lasting(hold, LastingTicket { shared, shard, id })
                } else {
                    Grant::numbered(request.hold, shared, (grant * SHARDS + shard) as u64)
                };
                Ok(Decision::Admitted { grant, headroom })
            }
            Attempt::Refused(refusal) => Ok(Decision::Refused(refusal)),
            Attempt::Unseeded(limit) => Err(limit),
        }
    }

    /// A copy of a limit's counter, whether the ledger must be asked for it, and what open grants hold of it.
    fn draft(&self, limit: &Arc<Limit>, now: Timestamp) -> (Counter, bool, Vec<(Timestamp, Amounts)>) {
        let held = self.lock(self.home(limit));
        let (draft, asks) = held.draft(limit, now, self.sides.ledger.is_some());
        (draft, asks, held.open(&limit.key))
    }

    /// The shard of a limit. A key does not say its workspace: its shard is the one that knows it, if any does.
    fn home(&self, limit: &Arc<Limit>) -> usize {
        match &limit.key.scope {
            Scope::Workspace(w) | Scope::Team(w, _) | Scope::Project(w, _) | Scope::Environment(w, ..) => {
                self.shard_of(w)
            }
            Scope::Key(_) => {
                let knows = |shard: &usize| {
                    let held = self.lock(*shard);
                    held.index(limit).is_some() || !held.open(&limit.key).is_empty()
                };
                (0..SHARDS).find(knows).unwrap_or(0)
            }
        }
    }

    fn settle_lasting(&self, shard: usize, id: &Arc<str>, used: Option<Amounts>) {
        let time = self.alert_time();
        let settled = self.lock(shard).settle_lasting(id, used, time);
        self.tell(settled);
    }

    fn time(&self) -> Timestamp {
        self.sides.clock.now()
    }

    /// What alerts are dated by; `None` where nobody listens for them.
    fn alert_time(&self) -> Option<Timestamp> {
        self.sides.alerts.is_some().then(|| self.time())
    }

    fn tell(&self, (over, raised): (bool, Vec<Alert>)) {
        if over {
            self.overshoots.fetch_add(1, Ordering::Relaxed);
        }
        self.raise(raised);
    }

    fn raise(&self, raised: Vec<Alert>) {
        if let Some(alerts) = &self.sides.alerts {
            raised.into_iter().for_each(|alert| alerts.raise(alert));
        }
    }
}

/// A grant's number is its index in its shard, times the number of shards, and its shard.
impl Numbered for Shared {
    fn settle(&self, number: u64, used: Option<Amounts>) {
        let number = number as usize;
        let time = self.alert_time();
        let settled = self.lock(number % SHARDS).settle(number / SHARDS, used, time);
        self.tell(settled);
    }
}

/// The ticket of a grant that others may settle, too.
struct LastingTicket {
    shared: Arc<Shared>,
    shard: usize,
    id: Arc<str>,
}

impl Ticket for LastingTicket {
    fn settle(self: Box<Self>, used: Option<Amounts>) {
        self.shared.settle_lasting(self.shard, &self.id, used);
    }
}
