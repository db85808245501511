//! A value that another thread will bring: a future on one side, a promise on the other.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};

use crate::base::store_future::StoreFuture;
use crate::store::error::{StoreError, StoreResult};

struct Slot<T> {
    value: Option<StoreResult<T>>,
    /// Who waits, and the thread that it was seen on.
    waker: Option<(ThreadId, Waker)>,
    /// Who is woken by the one that waits here, as soon as it runs or is gone.
    others: Vec<Waker>,
    is_over: bool,
}

/// The side that brings the value. Dropped without, it brings an error: its thread is gone.
pub(super) struct Promise<T>(Arc<Mutex<Slot<T>>>);

struct Promised<T>(Arc<Mutex<Slot<T>>>);

/// A promise and the future of its value.
pub(super) fn promise<T: Send + Unpin + 'static>() -> (Promise<T>, StoreFuture<StoreResult<T>>) {
    let slot = Slot { value: None, waker: None, others: Vec::new(), is_over: false };
    let slot = Arc::new(Mutex::new(slot));
    (Promise(Arc::clone(&slot)), StoreFuture::new(Promised(slot)))
}

/// Keeps many promises with one value. To wake a task from a foreign thread takes a system call, so one of each thread is
/// woken, and wakes the others from there.
pub(super) fn keep_all<T: Clone>(promises: impl IntoIterator<Item = Promise<T>>, value: &StoreResult<T>) {
    let promises = promises.into_iter();
    let mut waiting: Vec<(ThreadId, Waker, Promise<T>)> = Vec::with_capacity(promises.size_hint().0);
    for promise in promises {
        if let Some((thread, waker)) = promise.bring(value.clone()) {
            waiting.push((thread, waker, promise));
        }
    }
    while let Some((thread, first, promise)) = waiting.pop() {
        let mut slot = lock(&promise.0);
        if !slot.is_over {
            let (here, elsewhere) = waiting.into_iter().partition(|(other, ..)| *other == thread);
            waiting = elsewhere;
            slot.others = Vec::into_iter(here).map(|(_, waker, _)| waker).collect();
            drop(slot);
            first.wake();
        }
    }
}

fn lock<T>(slot: &Mutex<Slot<T>>) -> MutexGuard<'_, Slot<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Promise<T> {
    pub(super) fn keep(self, value: StoreResult<T>) {
        if let Some((_, waker)) = self.bring(value) {
            waker.wake();
        }
    }

    /// Gives back whoever is to be woken.
    fn bring(&self, value: StoreResult<T>) -> Option<(ThreadId, Waker)> {
        let mut slot = lock(&self.0);
        slot.value.get_or_insert(value);
        slot.waker.take()
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        // A promise that was kept has its value already, or its value was taken: then nobody looks again.
        let gone = StoreError::unavailable("the store has been closed");
        if let Some((_, waker)) = self.bring(Err(gone)) {
            waker.wake();
        }
    }
}

impl<T> Promised<T> {
    fn leave(mut slot: MutexGuard<'_, Slot<T>>) {
        slot.is_over = true;
        let others = std::mem::take(&mut slot.others);
        drop(slot);
        others.into_iter().for_each(Waker::wake);
    }
}

impl<T> Future for Promised<T> {
    type Output = StoreResult<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = lock(&self.0);
        match slot.value.take() {
            Some(value) => {
                Self::leave(slot);
                Poll::Ready(value)
            }
            None => {
                slot.waker = Some((thread::current().id(), cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Promised<T> {
    fn drop(&mut self) {
        Self::leave(lock(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    type Waiting = (StoreFuture<StoreResult<()>>, Arc<Count>);

    /// So many that wait on this thread.
    fn waiting(count: usize) -> (Vec<Promise<()>>, Vec<Waiting>) {
        let wait = |_| {
            let ((promise, future), count) = (promise(), Arc::<Count>::default());
            let mut waiting = (future, count);
            assert!(poll(&mut waiting).is_pending());
            (promise, waiting)
        };
        (0..count).map(wait).unzip()
    }

    fn poll((future, count): &mut Waiting) -> Poll<StoreResult<()>> {
        Pin::new(future).poll(&mut Context::from_waker(&Waker::from(Arc::clone(count))))
    }

    fn woken(waiting: &[Waiting]) -> Vec<usize> {
        waiting.iter().map(|(_, count)| count.0.load(Ordering::SeqCst)).collect()
    }

    #[test]
    fn one_of_a_thread_is_woken_and_wakes_the_others() {
        let (promises, mut waiting) = waiting(3);
        keep_all(promises, &Ok(()));
        assert_eq!(woken(&waiting), [0, 0, 1]);
        assert!(poll(&mut waiting[2]).is_ready());
        assert_eq!(woken(&waiting), [1, 1, 1]);
        assert!(waiting.iter_mut().take(2).all(|waiting| poll(waiting).is_ready()));
    }

    #[test]
    fn one_that_is_gone_before_it_runs_wakes_the_others_all_the_same() {
        let (promises, mut waiting) = waiting(3);
        keep_all(promises, &Ok(()));
        drop(waiting.pop());
        assert_eq!(woken(&waiting), [1, 1]);
    }

    #[test]
    fn one_that_is_gone_before_the_promise_is_kept_is_passed_over() {
        let (promises, mut waiting) = waiting(3);
        drop(waiting.pop());
        keep_all(promises, &Ok(()));
        assert_eq!(woken(&waiting), [0, 1]);
    }

    #[test]
    fn every_thread_has_one_that_is_woken() {
        let (mut promises, here) = waiting(2);
        let (others, there) = thread::spawn(|| waiting(2)).join().unwrap();
        promises.extend(others);
        keep_all(promises, &Ok(()));
        assert_eq!((woken(&here), woken(&there)), (vec![0, 1], vec![0, 1]));
    }

    #[test]
    fn a_promise_that_is_dropped_brings_an_error() {
        let (promises, mut waiting) = waiting(1);
        drop(promises);
        assert_eq!(woken(&waiting), [1]);
        assert!(matches!(poll(&mut waiting[0]), Poll::Ready(Err(_))));
    }
}
