//! A guard before a store that every request asks, and that is reached over a network: keys, quota counters.
//!
//! A store that hangs would make every request hang with it. [`Guarded`] gives a call 100 ms; after five failures in a row
//! it does not ask at all for five seconds, then lets one call through to see. What happens to requests meanwhile is the
//! layers' affair: keys that were seen lately stay known, and each limit has its `on_store_failure`.
//!
//! ```
//! use kancy::store::guarded::Guarded;
//! use kancy::store::memory::quota::MemoryQuota;
//!
//! let quota = Guarded::new(MemoryQuota::new());
//! # let _ = quota;
//! ```
//!
//! A call that is given up may still come through later: the store must void a grant that nobody claims, as those of this
//! crate do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::base::clock::Timestamp;
use crate::base::store_future::StoreFuture;
use crate::domain::hold::LastingHold;
use crate::domain::key::{KeyId, KeyRecord};
use crate::domain::limit::{Amounts, Limit};

use super::error::{StoreError, StoreErrorKind, StoreResult};
use super::keys::KeyStore;
use super::quota::{Decision, LimitState, QuotaStore, Reservation};

const TIMEOUT: Duration = Duration::from_millis(100);
const FAILURES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(5);

/// A [`QuotaStore`] or [`KeyStore`] that answers within 100 ms, be it with an error.
#[derive(Debug)]
pub struct Guarded<S> {
    inner: S,
    breaker: Arc<Breaker>,
}

impl<S> Guarded<S> {
    /// Guards `inner`.
    pub fn new(inner: S) -> Self {
        Self { inner, breaker: Arc::default() }
    }

    /// The guarded store.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    fn guard<T: Send + Unpin + 'static>(
        &self,
        call: impl FnOnce(&S) -> StoreFuture<StoreResult<T>>,
    ) -> StoreFuture<StoreResult<T>> {
        if !self.breaker.lets_through(Instant::now()) {
            return StoreFuture::ready(Err(StoreError::unavailable("the store is not asked: it failed just now")));
        }
        let attempt = Attempt(Arc::clone(&self.breaker));
        match call(&self.inner).now() {
            Ok(answer) => {
                attempt.note(&answer);
                StoreFuture::ready(answer)
            }
            Err(waiting) => StoreFuture::new(async move {
                let late = |_| Err(StoreError::unavailable("the store did not answer in time"));
                let answer = timeout(TIMEOUT, waiting).await.unwrap_or_else(late);
                attempt.note(&answer);
                answer
            }),
        }
    }
}

impl<Q: QuotaStore> QuotaStore for Guarded<Q> {
    fn reserve(&self, reservation: Reservation) -> StoreFuture<StoreResult<Decision>> {
        self.guard(|inner| inner.reserve(reservation))
    }

    fn keep(&self, holds: Vec<LastingHold>, lease: Duration) -> StoreFuture<StoreResult<()>> {
        self.guard(|inner| inner.keep(holds, lease))
    }

    fn settle(&self, hold: LastingHold, used: Option<Amounts>) -> StoreFuture<StoreResult<()>> {
        self.guard(|inner| inner.settle(hold, used))
    }

    fn state(&self, limits: Vec<Arc<Limit>>, now: Timestamp) -> StoreFuture<StoreResult<Vec<LimitState>>> {
        self.guard(|inner| inner.state(limits, now))
    }

    fn missed(&self, limits: &[Arc<Limit>]) {
        self.inner.missed(limits);
    }
}

impl<K: KeyStore> KeyStore for Guarded<K> {
    fn lookup(&self, id: &KeyId) -> StoreFuture<StoreResult<Option<Arc<KeyRecord>>>> {
        self.guard(|inner| inner.lookup(id))
    }

    fn epoch(&self) -> u64 {
        self.inner.epoch()
    }

    fn touch(&self, id: &KeyId, at: Timestamp) {
        self.inner.touch(id, at);
    }
}

#[derive(Debug, Default)]
struct Breaker(Mutex<Health>);

#[derive(Debug, Default)]
struct Health {
    /// In a row.
    failures: u32,
    /// When it may be asked again; set while it is not.
    retry_at: Option<Instant>,
}

impl Breaker {
    fn health(&self) -> MutexGuard<'_, Health> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lets_through(&self, now: Instant) -> bool {
        let mut health = self.health();
        match health.retry_at {
            None => true,
            Some(at) if now >= at => {
                // This one is the probe; if it is never heard of again, the next follows after another pause.
                health.retry_at = Some(now + PAUSE);
                true
            }
            Some(_) => false,
        }
    }

    fn note(&self, well: bool, now: Instant) {
        let mut health = self.health();
        if well {
            *health = Health::default();
            return;
        }
        health.failures = health.failures.saturating_add(1);
        if health.failures >= FAILURES {
            health.retry_at = Some(now + PAUSE);
        }
    }
}

/// One call. One whose caller leaves before the answer tells nothing.
struct Attempt(Arc<Breaker>);

impl Attempt {
    fn note<T>(&self, answer: &StoreResult<T>) {
        // A store that says what is wrong with the question is well.
        let well = answer.as_ref().err().is_none_or(|e| e.kind() != StoreErrorKind::Unavailable);
        self.0.note(well, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Never answers the first `hangs` calls, then at once.
    #[derive(Debug)]
    struct Hanging {
        hangs: u32,
        calls: AtomicU32,
    }

    impl QuotaStore for Hanging {
        fn reserve(&self, _: Reservation) -> StoreFuture<StoreResult<Decision>> {
            StoreFuture::new(std::future::pending())
        }

        fn keep(&self, _: Vec<LastingHold>, _: Duration) -> StoreFuture<StoreResult<()>> {
            StoreFuture::new(std::future::pending())
        }

        fn settle(&self, _: LastingHold, _: Option<Amounts>) -> StoreFuture<StoreResult<()>> {
            StoreFuture::new(std::future::pending())
        }

        fn state(&self, _: Vec<Arc<Limit>>, _: Timestamp) -> StoreFuture<StoreResult<Vec<LimitState>>> {
            if self.calls.fetch_add(1, Ordering::Relaxed) < self.hangs {
                return StoreFuture::new(std::future::pending());
            }
            StoreFuture::ready(Ok(Vec::new()))
        }
    }

    async fn ask(guarded: &Guarded<Hanging>) -> (bool, Duration) {
        let start = Instant::now();
        let answer = guarded.state(Vec::new(), Timestamp::EPOCH).await;
        (answer.is_ok(), start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_hangs_costs_a_tenth_of_a_second_five_times_and_then_nothing() {
        let guarded = Guarded::new(Hanging { hangs: u32::MAX, calls: AtomicU32::new(0) });
        for _ in 0..5 {
            assert_eq!(ask(&guarded).await, (false, TIMEOUT));
        }
        assert_eq!(ask(&guarded).await, (false, Duration::ZERO));
        assert_eq!(guarded.get_ref().calls.load(Ordering::Relaxed), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn the_breaker_closes_by_itself_when_the_store_is_back() {
        let guarded = Guarded::new(Hanging { hangs: 6, calls: AtomicU32::new(0) });
        for _ in 0..6 {
            ask(&guarded).await;
        }
        tokio::time::advance(PAUSE).await;
        assert_eq!(ask(&guarded).await, (false, TIMEOUT), "the probe hangs");
        assert_eq!(ask(&guarded).await, (false, Duration::ZERO), "one probe alone");
        tokio::time::advance(PAUSE).await;
        assert_eq!(ask(&guarded).await, (true, Duration::ZERO));
        assert_eq!(ask(&guarded).await, (true, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_that_are_not_in_a_row_do_not_open_it() {
        let breaker = Breaker::default();
        for n in 0..20 {
            breaker.note(n % 4 == 0, Instant::now());
        }
        assert!(breaker.lets_through(Instant::now()));
    }
}
