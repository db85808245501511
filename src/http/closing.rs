//! The host's word that it is going down.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Tells requests that the host is going down: a stream that waits for its vendor ends with an error event, and what is
/// dropped from then on was cut by us (`failed`), not left by its caller (`client_closed`). Every clone is the same switch.
///
/// Close it when the grace period is over, a moment before the connections that are left are dropped.
#[derive(Clone, Default)]
pub struct Closing(Arc<Switch>);

#[derive(Default)]
struct Switch {
    closed: AtomicBool,
    waiting: Mutex<Places>,
}

/// Who is to be woken; the places of those that are gone are given out again.
#[derive(Default)]
struct Places {
    taken: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Closing {
    /// The host drops its connections in a moment. There is no way back.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        let wakers: Vec<_> = self.0.places().taken.iter_mut().filter_map(Option::take).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }

    /// Ready when it is closed. A host whose tasks await it beside their connections has all that waits in them polled
    /// once more, and requests whose answers have not begun are told.
    pub async fn closed(&self) {
        let mut watch = self.watch();
        std::future::poll_fn(|cx| watch.poll_closed(cx)).await;
    }

    pub(crate) fn watch(&self) -> Watch {
        Watch { closing: self.clone(), place: None }
    }
}

impl Switch {
    fn places(&self) -> MutexGuard<'_, Places> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn free_place(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.taken.push(None);
            self.taken.len() - 1
        })
    }
}

/// One that waits for the word, in a place that it takes at its first wait and gives up when it is dropped.
pub(crate) struct Watch {
    closing: Closing,
    place: Option<(usize, Waker)>,
}

impl Watch {
    pub(crate) fn poll_closed(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.place.as_ref().is_none_or(|(_, waker)| !waker.will_wake(cx.waker())) {
            self.register(cx.waker());
        }
        // Asked last: who closes it in between does not find the place yet.
        if self.closing.is_closed() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn register(&mut self, waker: &Waker) {
        let waker = waker.clone();
        let mut places = self.closing.0.places();
        let at = self.place.as_ref().map_or_else(|| places.free_place(), |(at, _)| *at);
        let before = places.taken[at].replace(waker.clone());
        // A waker's own drop may run anything.
        drop(places);
        drop(before);
        self.place = Some((at, waker));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Some((at, _)) = self.place.take() else { return };
        let mut places = self.closing.0.places();
        let gone = places.taken[at].take();
        places.free.push(at);
        drop(places);
        drop(gone);
    }
}

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Closing").field(&self.is_closed()).finish()
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    #[test]
    fn all_that_wait_are_woken_and_who_comes_later_does_not_wait() {
        let closing = Closing::default();
        let mut waiting = [task::spawn(closing.closed()), task::spawn(closing.closed())];
        waiting.iter_mut().for_each(|waiting| assert_pending!(waiting.poll()));
        closing.clone().close();
        for waiting in &mut waiting {
            assert!(waiting.is_woken());
            assert_ready!(waiting.poll());
        }
        assert_ready!(task::spawn(closing.closed()).poll());
    }

    #[test]
    fn the_place_of_who_is_gone_is_given_out_again() {
        let closing = Closing::default();
        let mut stays = task::spawn(closing.closed());
        assert_pending!(stays.poll());
        for _ in 0..100 {
            assert_pending!(task::spawn(closing.closed()).poll());
        }
        assert_eq!(closing.0.places().taken.len(), 2);
        closing.close();
        assert!(stays.is_woken());
    }

    #[test]
    fn who_has_moved_to_another_task_is_woken_there() {
        let closing = Closing::default();
        let mut watch = closing.watch();
        let mut first = task::spawn(());
        let mut second = task::spawn(());
        first.enter(|cx, _| assert_pending!(watch.poll_closed(cx)));
        second.enter(|cx, _| assert_pending!(watch.poll_closed(cx)));
        closing.close();
        assert_eq!((first.is_woken(), second.is_woken()), (false, true));
    }
}
