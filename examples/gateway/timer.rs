//! A connection's timer for the heads of its requests.
//!
//! hyper sets a new timer for each request, and gives it up when the head is there: nearly always at once. So the one
//! that a connection has is used again, and moved on when it fires, not each time.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::time::{self, sleep_until};

/// A timer that runs, and whom it wakes.
struct Running {
    sleep: Pin<Box<time::Sleep>>,
    waker: Waker,
}

/// Of one connection, which waits for one head at a time.
#[derive(Clone, Default)]
pub struct HeadTimer(Arc<Mutex<Option<Running>>>);

impl HeadTimer {
    fn kept(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, time: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + time)
    }

    /// The runtime's.
    fn now(&self) -> Instant {
        time::Instant::now().into_std()
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Head { until: deadline.into(), timer: self.clone() })
    }
}

struct Head {
    until: time::Instant,
    timer: HeadTimer,
}

impl Sleep for Head {}

impl Future for Head {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let (until, mut kept) = (self.until, self.timer.kept());
        let Some(Running { sleep, waker }) = &mut *kept else {
            let running = kept.insert(Running { sleep: Box::pin(sleep_until(until)), waker: cx.waker().clone() });
            return running.sleep.as_mut().poll(cx);
        };
        if sleep.deadline() > until {
            sleep.as_mut().reset(until);
        } else if !sleep.is_elapsed() && waker.will_wake(cx.waker()) {
            // It is set, and wakes this task in time.
            return Poll::Pending;
        }
        waker.clone_from(cx.waker());
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= until {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_head_has_its_own_time_whatever_was_left_of_the_one_before() {
        let timer = HeadTimer::default();
        for (wait, gives_up_after) in [(30, 20), (30, 29), (5, 4), (30, 1)] {
            let head = timer.sleep(wait * SECOND);
            assert!(time::timeout(gives_up_after * SECOND, head).await.is_err(), "early");
        }
        let begun = time::Instant::now();
        timer.sleep_until((begun + 30 * SECOND).into_std()).await;
        let waited = begun.elapsed();
        assert!((30 * SECOND..31 * SECOND).contains(&waited), "{waited:?}");
    }
}
