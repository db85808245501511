//! A value that a task makes and a request waits for.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

enum State<T> {
    Waiting(Option<Waker>),
    Kept(T),
    /// Its maker is gone.
    Broken,
}

/// The maker's side. Dropped without a value, it breaks the promise.
pub(super) struct Promise<T>(Arc<Mutex<State<T>>>);

/// The waiting side: the value, or `None` when its maker is gone.
pub(super) struct Promised<T>(Arc<Mutex<State<T>>>);

pub(super) fn promise<T>() -> (Promise<T>, Promised<T>) {
    let state = Arc::new(Mutex::new(State::Waiting(None)));
    (Promise(Arc::clone(&state)), Promised(state))
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Promise<T> {
    pub(super) fn keep(self, value: T) {
        self.settle(State::Kept(value));
    }

    fn settle(&self, end: State<T>) {
        let mut state = lock(&self.0);
        if let State::Waiting(waker) = &mut *state {
            let waker = waker.take();
            *state = end;
            drop(state);
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.settle(State::Broken);
    }
}

impl<T> Future for Promised<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = lock(&self.0);
        match std::mem::replace(&mut *state, State::Broken) {
            State::Kept(value) => Poll::Ready(Some(value)),
            State::Broken => Poll::Ready(None),
            State::Waiting(_) => {
                *state = State::Waiting(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}
