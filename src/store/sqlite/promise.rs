//! A value that another thread will bring: a future on one side, a promise on the other.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::base::store_future::StoreFuture;
use crate::store::error::{StoreError, StoreResult};

struct Slot<T> {
    value: Option<StoreResult<T>>,
    waker: Option<Waker>,
}

/// The side that brings the value. Dropped without, it brings an error: its thread is gone.
pub(super) struct Promise<T>(Arc<Mutex<Slot<T>>>);

struct Promised<T>(Arc<Mutex<Slot<T>>>);

/// A promise and the future of its value.
pub(super) fn promise<T: Send + Unpin + 'static>() -> (Promise<T>, StoreFuture<StoreResult<T>>) {
    let slot = Arc::new(Mutex::new(Slot { value: None, waker: None }));
    (Promise(Arc::clone(&slot)), StoreFuture::new(Promised(slot)))
}

fn lock<T>(slot: &Mutex<Slot<T>>) -> MutexGuard<'_, Slot<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Promise<T> {
    pub(super) fn keep(self, value: StoreResult<T>) {
        self.bring(value);
    }

    fn bring(&self, value: StoreResult<T>) {
        let waker = {
            let mut slot = lock(&self.0);
            slot.value.get_or_insert(value);
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        // A promise that was kept has its value already, or its value was taken: then nobody looks again.
        self.bring(Err(StoreError::unavailable("the store has been closed")));
    }
}

impl<T> Future for Promised<T> {
    type Output = StoreResult<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = lock(&self.0);
        match slot.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
