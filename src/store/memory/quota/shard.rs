//! What stands behind one lock: the counters of some workspaces, and the grants that hold of them.

mod lasting;

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::hash::QuickMap;
use crate::domain::alert::Alert;
use crate::domain::caller::Caller;
use crate::domain::limit::{Amounts, Limit, LimitKey, Mode, Window};
use crate::domain::modality::Modality;
use crate::store::counter::{Counter, Hold};
use crate::store::ledger::PostedQuery;
use crate::store::quota::{Headroom, Refusal, RefusalWait, Reservation};

use crate::store::memory::slab::Slab;

use self::lasting::Lasting;

/// A limit by its name: what tells it from others, and where it was set (a limit of the configuration and one set by API
/// may have the same key; each counts for itself).
#[derive(Clone)]
struct Named(Arc<Limit>);

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.source == other.0.source && self.0.key == other.0.key
    }
}

impl Eq for Named {}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

/// An admitted request that is not settled.
struct OpenGrant {
    caller: Caller,
    modality: Option<Modality>,
    model: Option<Arc<str>>,
    amounts: Amounts,
    at: Timestamp,
    holds: Vec<Hold>,
}

impl OpenGrant {
    fn counts_for(&self, key: &LimitKey) -> bool {
        key.scope.covers(&self.caller) && key.matches(self.modality, self.model.as_deref())
    }
}

pub(super) struct Shard {
    by_limit: QuickMap<Named, usize>,
    counters: Slab<Counter>,
    grants: Slab<OpenGrant>,
    lasting: Lasting,
    /// The emptied lists of settled grants, to be used again: no more of them than there were grants at one time.
    spare: Vec<Vec<Hold>>,
    /// Who waits for a counter that is being seeded, by its index.
    pub(super) seeding: HashMap<usize, Vec<Waker>>,
    /// The latest time that was seen: windows never roll back.
    latest: Timestamp,
    /// Where pruning goes on.
    cursor: usize,
}

/// What came of trying to reserve.
pub(super) enum Attempt {
    /// The grant's index.
    Admitted(usize, Headroom),
    Refused(Refusal),
    /// This limit's counter must be seeded from the ledger first.
    Unseeded(Arc<Limit>),
}

/// What came of wanting to seed a counter.
pub(super) enum Claimed {
    Done,
    /// Another is at it and will wake the waker.
    Waiting,
    Yours {
        counter: usize,
        query: PostedQuery,
    },
}

impl Shard {
    pub(super) fn new() -> Self {
        Self {
            by_limit: QuickMap::default(),
            counters: Slab::new(),
            grants: Slab::new(),
            lasting: Lasting::default(),
            spare: Vec::new(),
            seeding: HashMap::new(),
            latest: Timestamp::EPOCH,
            cursor: 0,
        }
    }

    pub(super) fn latest(&self) -> Timestamp {
        self.latest
    }

    pub(super) fn counter_mut(&mut self, at: usize) -> Option<&mut Counter> {
        self.counters.get_mut(at)
    }

    /// One atomic admit over all limits: all of them are held, or none.
    pub(super) fn reserve(&mut self, request: &Reservation, has_ledger: bool) -> Attempt {
        self.latest = self.latest.max(request.now);
        // One more than can be added.
        self.prune(request.limits.len() + 1);
        let now = self.latest;
        let mut holds = self.spare.pop().unwrap_or_default();
        for limit in &*request.limits {
            match self.find(limit, has_ledger) {
                Ok(counter) => holds.push(Hold::on(counter)),
                Err(_) => {
                    self.put_by(holds);
                    return Attempt::Unseeded(Arc::clone(limit));
                }
            }
        }
        let mut refusal: Option<(Arc<Limit>, RefusalWait)> = None;
        for hold in &holds {
            let Some(counter) = self.counters.get_mut(hold.counter) else { continue };
            counter.roll(now);
            if counter.limit.mode == Mode::Shadow {
                continue;
            }
            if let Some(wait) = counter.refuses(&request.hold, now)
                && refusal.as_ref().is_none_or(|(_, worst)| severity(wait) > severity(*worst))
            {
                refusal = Some((Arc::clone(&counter.limit), wait));
            }
        }
        if let Some((limit, wait)) = refusal {
            let headroom = self.headroom(&holds);
            self.put_by(holds);
            return Attempt::Refused(Refusal { limit, wait, headroom });
        }
        for hold in &mut holds {
            if let Some(counter) = self.counters.get_mut(hold.counter) {
                *hold = counter.place(hold.counter, &request.hold, now);
            }
        }
        let headroom = self.headroom(&holds);
        let grant = OpenGrant {
            caller: request.caller.clone(),
            modality: request.modality,
            model: request.model.clone(),
            amounts: request.hold,
            at: now,
            holds,
        };
        Attempt::Admitted(self.grants.insert(grant), headroom)
    }

    /// Releases all that a grant holds and posts `used`. Returns whether it came to more than was held of any limit, and
    /// the alerts, dated `time`; without a time none are looked for.
    pub(super) fn settle(
        &mut self,
        grant: usize,
        used: Option<Amounts>,
        time: Option<Timestamp>,
    ) -> (bool, Vec<Alert>) {
        let (mut over, mut raised) = (false, Vec::new());
        let Some(grant) = self.grants.remove(grant) else { return (over, raised) };
        let used = used.unwrap_or_default();
        for &hold in &grant.holds {
            if let Some(counter) = self.counters.get_mut(hold.counter) {
                over |= counter.settle(hold, &used);
                if let Some(time) = time {
                    counter.alert(grant.at, self.latest, time, &mut raised);
                }
            }
        }
        self.put_by(grant.holds);
        (over, raised)
    }

    fn put_by(&mut self, mut holds: Vec<Hold>) {
        holds.clear();
        self.spare.push(holds);
    }

    fn headroom(&self, holds: &[Hold]) -> Headroom {
        let counters = holds.iter().filter_map(|hold| self.counters.get(hold.counter));
        counters.filter(|c| Headroom::tells(&c.limit)).map(|c| c.room(self.latest)).collect()
    }

    /// The index of a limit's counter.
    pub(super) fn index(&self, limit: &Arc<Limit>) -> Option<usize> {
        self.by_limit.get(&Named(Arc::clone(limit))).copied()
    }

    /// The counter of `limit`, ready to count. An error when it must be seeded first.
    fn find(&mut self, limit: &Arc<Limit>, has_ledger: bool) -> Result<usize, usize> {
        let at = self.index(limit).unwrap_or_else(|| self.add(limit));
        let Some(counter) = self.counters.get_mut(at) else { return Err(at) };
        if !Arc::ptr_eq(&counter.limit, limit) {
            // It may have been away: then the ledger and the open grants know more than the counter.
            counter.seeded &= !(has_ledger && reconciles(&counter.limit, limit));
            counter.limit = Arc::clone(limit);
            counter.roll(self.latest);
            self.adopt(at);
        }
        match self.counters.get(at) {
            Some(counter) if counter.seeded => Ok(at),
            Some(counter) if has_ledger && counter.ledger_from(self.latest).is_some() => Err(at),
            _ => {
                self.absorb(at, &[], 0);
                Ok(at)
            }
        }
    }

    /// Makes the counter of a limit that has none.
    fn add(&mut self, limit: &Arc<Limit>) -> usize {
        let at = self.counters.insert(Counter::new(Arc::clone(limit), self.latest));
        self.by_limit.insert(Named(Arc::clone(limit)), at);
        self.adopt(at);
        at
    }

    /// Lets a counter hold what was admitted while its limit was not there.
    fn adopt(&mut self, at: usize) {
        let Some(counter) = self.counters.get_mut(at) else { return };
        for grant in self.grants.iter_mut() {
            if grant.counts_for(&counter.limit.key) && grant.holds.iter().all(|h| h.counter != at) {
                grant.holds.push(counter.adopt(at, &grant.amounts, grant.at));
            }
        }
    }

    /// Brings the ledger's postings into a counter, and the debt of the open grants.
    fn absorb(&mut self, at: usize, posted: &[(Timestamp, Amounts)], missed: u64) {
        let Some(counter) = self.counters.get_mut(at) else { return };
        let open: Vec<_> = open(&self.grants, &counter.limit.key).collect();
        counter.absorb(posted, missed, &open, self.latest);
    }

    /// Takes it on to seed the counter of `limit`, unless that is done or another is at it.
    pub(super) fn claim(&mut self, limit: &Arc<Limit>, waker: &Waker) -> Claimed {
        let Err(at) = self.find(limit, true) else { return Claimed::Done };
        if let Some(waiting) = self.seeding.get_mut(&at) {
            if !waiting.iter().any(|known| known.will_wake(waker)) {
                waiting.push(waker.clone());
            }
            return Claimed::Waiting;
        }
        let Some(counter) = self.counters.get_mut(at) else { return Claimed::Done };
        counter.mark();
        let from = counter.ledger_from(self.latest).unwrap_or_default();
        self.seeding.insert(at, Vec::new());
        Claimed::Yours { counter: at, query: PostedQuery { key: limit.key.clone(), from, each: counter.is_rate() } }
    }

    /// Seeds a claimed counter with what the ledger answered to `query`, unless that is out of date already: then the
    /// query must be made again, `from` a new moment. With `force` a little is rather counted twice than not at all.
    pub(super) fn seed(
        &mut self,
        at: usize,
        query: &mut PostedQuery,
        posted: &[(Timestamp, Amounts)],
        force: bool,
    ) -> bool {
        let now = self.latest;
        let Some(counter) = self.counters.get_mut(at) else { return true };
        counter.roll(now);
        let from = counter.ledger_from(now).unwrap_or_default();
        let rolled = from != query.from && !counter.is_rate();
        let missed = counter.fresh();
        if rolled || missed > 0 && !force {
            query.from = from;
            counter.mark();
            return false;
        }
        self.absorb(at, posted, missed);
        true
    }

    /// A copy of a limit's counter as it would be if it were asked now, and whether the ledger must be asked for it.
    pub(super) fn draft(&self, limit: &Arc<Limit>, now: Timestamp, has_ledger: bool) -> (Counter, bool) {
        let at = self.index(limit);
        let now = now.max(self.latest);
        let known = at.and_then(|at| self.counters.get(at));
        let mut draft = known.cloned().unwrap_or_else(|| Counter::new(Arc::clone(limit), now));
        draft.seeded &= Arc::ptr_eq(&draft.limit, limit) || !(has_ledger && reconciles(&draft.limit, limit));
        draft.limit = Arc::clone(limit);
        draft.roll(now);
        for grant in self.grants.iter().filter(|g| g.counts_for(&limit.key)) {
            if grant.holds.iter().all(|h| Some(h.counter) != at) {
                draft.adopt(usize::MAX, &grant.amounts, grant.at);
            }
        }
        let asks = !draft.seeded && has_ledger && draft.ledger_from(now).is_some();
        if !draft.seeded && !asks {
            draft.absorb(&[], 0, &self.open(&limit.key), now);
        }
        (draft, asks)
    }

    /// What open grants hold of a limit, whether it has a counter or not.
    pub(super) fn open(&self, key: &LimitKey) -> Vec<(Timestamp, Amounts)> {
        open(&self.grants, key).collect()
    }

    /// Looks at `n` counters, and forgets those that owe nothing.
    fn prune(&mut self, n: usize) {
        for _ in 0..n.min(self.counters.span()) {
            self.cursor = (self.cursor + 1) % self.counters.span();
            let at = self.cursor;
            let idle = self.counters.get(at).is_some_and(|c| c.is_idle(self.latest)) && !self.seeding.contains_key(&at);
            if let Some(counter) = idle.then(|| self.counters.remove(at)).flatten() {
                self.by_limit.remove(&Named(counter.limit));
            }
        }
    }

    /// How many counters there are.
    pub(super) fn counters(&self) -> usize {
        self.by_limit.len()
    }
}

fn open<'a>(grants: &'a Slab<OpenGrant>, key: &'a LimitKey) -> impl Iterator<Item = (Timestamp, Amounts)> + 'a {
    grants.iter().filter(|g| g.counts_for(key)).map(|g| (g.at, g.amounts))
}

/// Whether a limit that comes as a new value is compared with the ledger: it may have been away. A rate whose amount has
/// changed keeps its debt in time, which the ledger cannot tell.
fn reconciles(known: &Limit, comes: &Limit) -> bool {
    match comes.key.window() {
        Window::Rate { .. } => known.amount == comes.amount,
        Window::Calendar(_) | Window::Total => true,
        Window::Lease => false,
    }
}

/// Which refusal the caller is told of: the one that time helps least.
fn severity(wait: RefusalWait) -> (u8, Duration) {
    match wait {
        RefusalWait::Soon => (0, Duration::ZERO),
        RefusalWait::After(wait) => (1, wait),
        RefusalWait::Never => (2, Duration::ZERO),
        RefusalWait::TooLarge => (3, Duration::ZERO),
    }
}
