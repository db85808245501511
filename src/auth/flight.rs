//! One lookup for all the requests that wait for the same key.
//!
//! No request leads: each polls the shared lookup when woken, and the lookup wakes them all. So whichever of them is
//! dropped, the others carry it on.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::store_future::StoreFuture;
use crate::domain::caller::Caller;
use crate::domain::key::{KeyDigest, KeyId, KeyRecord};
use crate::store::error::{StoreError, StoreResult};

use super::cache::{Found, KeyCache, Remembered};

/// A lookup under way.
pub(super) struct Flight {
    cache: Arc<KeyCache>,
    id: KeyId,
    epoch: u64,
    at: Timestamp,
    stage: Mutex<Stage>,
    wakers: Arc<Wakers>,
}

enum Stage {
    /// The lookup, once somebody has begun it.
    Open(Option<StoreFuture<StoreResult<Option<Arc<KeyRecord>>>>>),
    Done(StoreResult<Found>),
}

impl Flight {
    pub(super) fn new(cache: Arc<KeyCache>, id: KeyId, epoch: u64, at: Timestamp) -> Self {
        Self { cache, id, epoch, at, stage: Mutex::new(Stage::Open(None)), wakers: Arc::default() }
    }

    pub(super) fn id(&self) -> &KeyId {
        &self.id
    }

    /// When it began.
    pub(super) fn at(&self) -> Timestamp {
        self.at
    }

    /// Whether a request that saw `epoch` may rely on its answer.
    pub(super) fn serves(&self, epoch: u64) -> bool {
        self.epoch >= epoch && !self.stage.is_poisoned()
    }

    /// Carries the lookup on as far as it goes now, and begins it if nobody has. Whoever holds a ticket is woken when it
    /// can go further.
    fn advance(&self) -> Poll<StoreResult<Found>> {
        let Ok(mut stage) = self.stage.lock() else { return Poll::Ready(Err(panicked())) };
        let lookup = match &mut *stage {
            Stage::Done(answer) => return Poll::Ready(answer.clone()),
            Stage::Open(lookup) => lookup.get_or_insert_with(|| self.cache.look_up(&self.id)),
        };
        let waker = Waker::from(Arc::clone(&self.wakers));
        let answer = ready!(Pin::new(lookup).poll(&mut Context::from_waker(&waker)));
        let answer = self.land(answer);
        *stage = Stage::Done(answer.clone());
        drop(stage);
        self.wakers.wake_all();
        Poll::Ready(answer)
    }

    fn land(&self, answer: StoreResult<Option<Arc<KeyRecord>>>) -> StoreResult<Found> {
        let found = answer.map(|record| self.cache.remember(&self.id, record, self.epoch, self.at));
        self.cache.leave(self);
        found
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.cache.leave(self);
    }
}

fn panicked() -> StoreError {
    StoreError::unavailable("the lookup of the key panicked")
}

/// The requests that wait, each under a ticket of its own.
#[derive(Default)]
struct Wakers(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    next: u64,
    waiting: HashMap<u64, Waker>,
}

impl Wakers {
    fn ticket(&self) -> u64 {
        let mut queue = self.lock();
        queue.next += 1;
        queue.next
    }

    fn register(&self, ticket: u64, waker: &Waker) {
        self.lock().waiting.insert(ticket, waker.clone());
    }

    fn forget(&self, ticket: u64) {
        // Bound first, dropped after the lock: dropping a waker may run the task's own destructors.
        let waker = self.lock().waiting.remove(&ticket);
        drop(waker);
    }

    fn wake_all(&self) {
        let waiting = std::mem::take(&mut self.lock().waiting);
        waiting.into_values().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}

/// A request that waits for the lookup of its key.
pub(super) struct Waiting {
    flight: Arc<Flight>,
    ticket: u64,
    digest: KeyDigest,
    /// What was remembered of the key before.
    before: Option<Remembered>,
}

impl Waiting {
    pub(super) fn new(flight: Arc<Flight>, digest: KeyDigest, before: Option<Remembered>) -> Self {
        let ticket = flight.wakers.ticket();
        Self { flight, ticket, digest, before }
    }

    /// The verdict, where the store can tell at once.
    pub(super) fn advance(&self) -> Poll<Result<Caller, Error>> {
        let answer = ready!(self.flight.advance());
        Poll::Ready(self.flight.cache.conclude(answer, &self.digest, self.before.as_ref()))
    }
}

impl Future for Waiting {
    type Output = Result<Caller, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Registered before the lookup is polled: a wake in between reaches this request too.
        self.flight.wakers.register(self.ticket, cx.waker());
        self.advance()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.flight.wakers.forget(self.ticket);
        if self.flight.stage.is_poisoned() {
            // The store panicked under this request; the others would wait for ever.
            self.flight.wakers.wake_all();
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("id", &self.flight.id).finish_non_exhaustive()
    }
}
