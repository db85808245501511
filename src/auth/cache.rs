//! What the store said of keys, remembered for a while.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use crate::base::clock::{Clock, Timestamp};
use crate::base::error::{Code, Error};
use crate::base::store_future::StoreFuture;
use crate::domain::caller::Caller;
use crate::domain::key::{KeyDigest, KeyId, KeyRecord, KeyRefusal, id_claimed, id_within};
use crate::domain::pepper::Pepper;
use crate::store::error::StoreResult;
use crate::store::keys::KeyStore;

use super::bounded::Bounded;
use super::flight::{Flight, Waiting};

/// So many keys are remembered, and beside them so many ids that name none: noise cannot crowd out what is in use.
const REMEMBERED: usize = 10_000;

/// The store is told of a key's use no more often than this.
const TOUCH_EVERY: Duration = Duration::from_secs(1);

/// A key that the store knows, with the caller that it stands for made once.
pub(super) struct KnownKey {
    record: Arc<KeyRecord>,
    caller: Caller,
    touched: AtomicU64,
}

/// What a lookup found; `None` when there is no such key.
pub(super) type Found = Option<Arc<KnownKey>>;

/// What a lookup found, and when: the epoch and the time were read before it began.
#[derive(Clone)]
pub(super) struct Remembered {
    found: Found,
    epoch: u64,
    at: Timestamp,
}

/// Who presents a key.
pub(super) enum Identity {
    /// The verdict is there.
    Now(Result<Caller, Error>),
    /// The store must be waited for.
    Later(Waiting),
}

/// The keys of a store, and what is remembered of them. Shared by all services of one layer.
pub(super) struct KeyCache {
    store: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    cache_for: Duration,
    pepper: Option<Pepper>,
    known: Bounded<Remembered>,
    unknown: Bounded<Remembered>,
    /// Lookups under way. A flight takes itself out when its last request is gone, so there are no more than requests.
    flights: Mutex<HashMap<KeyId, Weak<Flight>>>,
}

impl KeyCache {
    pub(super) fn new(store: Arc<dyn KeyStore>, clock: Arc<dyn Clock>, cache_for: Duration) -> Self {
        let (known, unknown) = (Bounded::new(REMEMBERED), Bounded::new(REMEMBERED));
        Self { store, clock, cache_for, pepper: None, known, unknown, flights: Mutex::default() }
    }

    /// The same store with nothing remembered yet, and by another clock.
    pub(super) fn with_clock(&self, clock: Arc<dyn Clock>) -> Self {
        Self { pepper: self.pepper.clone(), ..Self::new(Arc::clone(&self.store), clock, self.cache_for) }
    }

    /// The same, but remembering for so long.
    pub(super) fn with_cache_for(&self, cache_for: Duration) -> Self {
        Self { cache_for, ..self.with_clock(Arc::clone(&self.clock)) }
    }

    /// The same, but for a store with peppered digests.
    pub(super) fn with_pepper(&self, pepper: Pepper) -> Self {
        Self { pepper: Some(pepper), ..self.with_clock(Arc::clone(&self.clock)) }
    }

    /// What the store keeps of `key`, if that is a key of its own.
    fn digest(&self, key: &str) -> KeyDigest {
        let digest = KeyDigest::of(key);
        self.pepper.as_ref().map_or(digest, |pepper| pepper.of(&digest))
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Who presents `key`.
    pub(super) fn identify(self: &Arc<Self>, key: &str, now: Timestamp) -> Identity {
        let epoch = self.store.epoch();
        let current = |remembered: &Remembered| remembered.epoch >= epoch && self.recent(remembered.at, now);
        let known = id_claimed(key).and_then(|id| self.known.get(id));
        if let Some(known) = known.as_ref().filter(|known| current(known)) {
            return Identity::Now(self.verdict(known.found.as_ref(), &self.digest(key), now));
        }
        let invalid = || Identity::Now(Err(refusal(KeyRefusal::Invalid)));
        let Some(id) = id_within(key) else { return invalid() };
        let digest = self.digest(key);
        let remembered = known.or_else(|| self.unknown.get(id)).filter(|r| self.recent(r.at, now));
        if let Some(current) = remembered.as_ref().filter(|remembered| current(remembered)) {
            return Identity::Now(self.verdict(current.found.as_ref(), &digest, now));
        }
        let Some(id) = KeyId::new(id) else { return invalid() };
        let waiting = Waiting::new(self.join(id, epoch, now), digest, remembered);
        match waiting.advance() {
            Poll::Ready(verdict) => Identity::Now(verdict),
            Poll::Pending => Identity::Later(waiting),
        }
    }

    /// The verdict on what a lookup answered. A store that fails is stood in for by what it said lately.
    pub(super) fn conclude(
        &self,
        answer: StoreResult<Found>,
        digest: &KeyDigest,
        before: Option<&Remembered>,
    ) -> Result<Caller, Error> {
        let now = self.clock.now();
        match (answer, before) {
            (Ok(found), _) => self.verdict(found.as_ref(), digest, now),
            (Err(_), Some(before)) if self.recent(before.at, now) => self.verdict(before.found.as_ref(), digest, now),
            (Err(error), _) => {
                let message = "API keys cannot be checked at the moment: try again shortly.";
                Err(Error::new(Code::AuthUnavailable, message).cause(error.message()))
            }
        }
    }

    fn verdict(&self, found: Option<&Arc<KnownKey>>, digest: &KeyDigest, now: Timestamp) -> Result<Caller, Error> {
        let known = found.ok_or_else(|| refusal(KeyRefusal::Invalid))?;
        known.record.check(digest, now).map_err(refusal)?;
        if known.touch_is_due(now) {
            self.store.touch(&known.record.id, now);
        }
        Ok(known.caller.clone())
    }

    fn recent(&self, at: Timestamp, now: Timestamp) -> bool {
        now.since(at) < self.cache_for
    }

    /// The lookup of `id` that is under way, where its answer will do for a request of now; else a new one.
    fn join(self: &Arc<Self>, id: KeyId, epoch: u64, now: Timestamp) -> Arc<Flight> {
        // Declared before the lock, so that it is dropped after: dropping the last hold on a flight takes the lock.
        let _outdated;
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        match flights.get(&id).and_then(Weak::upgrade) {
            Some(flight) if flight.serves(epoch) && self.recent(flight.at(), now) => return flight,
            other => _outdated = other,
        }
        let flight = Arc::new(Flight::new(Arc::clone(self), id.clone(), epoch, now));
        flights.insert(id, Arc::downgrade(&flight));
        flight
    }

    /// Takes a flight out of those that can be joined.
    pub(super) fn leave(&self, flight: &Flight) {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if flights.get(flight.id()).is_some_and(|weak| std::ptr::eq(weak.as_ptr(), flight)) {
            flights.remove(flight.id());
        }
    }

    pub(super) fn look_up(&self, id: &KeyId) -> StoreFuture<StoreResult<Option<Arc<KeyRecord>>>> {
        self.store.lookup(id)
    }

    /// Remembers what the lookup of `id` found.
    pub(super) fn remember(&self, id: &KeyId, record: Option<Arc<KeyRecord>>, epoch: u64, at: Timestamp) -> Found {
        let found = record.map(|record| Arc::new(KnownKey::new(record)));
        let remembered = Remembered { found: found.clone(), epoch, at };
        if found.is_some() {
            self.known.insert(id.clone(), remembered);
        } else {
            self.known.remove(id.as_str());
            self.unknown.insert(id.clone(), remembered);
        }
        found
    }
}

impl KnownKey {
    fn new(record: Arc<KeyRecord>) -> Self {
        let caller = Caller::new(
            record.id.shared(),
            record.name.clone(),
            record.home.clone(),
            record.models.clone(),
            record.modalities.as_slice().into(),
        );
        let touched = AtomicU64::new(record.last_used_at.unwrap_or_default().as_nanos());
        Self { record, caller, touched }
    }

    fn touch_is_due(&self, now: Timestamp) -> bool {
        let last = self.touched.load(Ordering::Relaxed);
        let due = now.since(Timestamp::from_nanos(last)) >= TOUCH_EVERY;
        due && self.touched.compare_exchange(last, now.as_nanos(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// What the caller is told. An unknown id and a wrong secret read the same.
fn refusal(refusal: KeyRefusal) -> Error {
    match refusal {
        KeyRefusal::Invalid => {
            Error::new(Code::InvalidApiKey, "This API key is not valid: check it for typing errors.")
        }
        KeyRefusal::Expired => Error::new(Code::KeyExpired, "This API key has expired: ask for a new one."),
        KeyRefusal::Revoked => {
            Error::new(Code::KeyRevoked, "This API key has been revoked or replaced: use the new one.")
        }
    }
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCache")
            .field("store", &self.store)
            .field("cache_for", &self.cache_for)
            .finish_non_exhaustive()
    }
}
