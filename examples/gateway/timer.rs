//! A connection's timer for the heads of its requests.
//!
//! hyper sets a new timer for each request, and gives it up when the head is there: nearly always at once. So the one
//! that a connection has is used again, and moved on when it fires, not each time.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::time::{self, sleep_until};

type Running = Pin<Box<time::Sleep>>;

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
        let running = self.kept().take();
        Box::pin(Head { until: deadline.into(), running, timer: self.clone() })
    }
}

struct Head {
    until: time::Instant,
    /// May fire earlier than that.
    running: Option<Running>,
    timer: HeadTimer,
}

impl Sleep for Head {}

impl Future for Head {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let until = self.until;
        let running = self.running.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if running.deadline() > until {
            running.as_mut().reset(until);
        }
        loop {
            ready!(running.as_mut().poll(cx));
            if running.deadline() >= until {
                return Poll::Ready(());
            }
            running.as_mut().reset(until);
        }
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        *self.timer.kept() = self.running.take();
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
