//! The limit on a wait for a vendor's next byte.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that stays with a connection. It is moved on when it fires, not at each wait: most waits are short.
pub(in crate::client) struct Silence(Pin<Box<Sleep>>);

impl Silence {
    /// On the runtime that it is called on, until which it lives.
    pub(super) fn new() -> Self {
        Self(Box::pin(sleep_until(Instant::now())))
    }

    /// There is nothing yet. Ready once `until` has come.
    pub(in crate::client) fn poll_until(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let limit = &mut self.0;
        if limit.deadline() > until {
            limit.as_mut().reset(until);
        }
        while limit.as_mut().poll(cx).is_ready() {
            if limit.deadline() >= until {
                return Poll::Ready(());
            }
            limit.as_mut().reset(until);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::time::{advance, timeout};

    use super::*;

    async fn waited(silence: &mut Silence, bound: Duration) -> Duration {
        let start = Instant::now();
        // Nothing but the limit wakes this task.
        poll_fn(|cx| silence.poll_until(start + bound, cx)).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_too_long_after_its_bound_however_often_it_was_broken_before() {
        let bound = Duration::from_secs(10);
        let mut silence = Silence::new();
        // Waits that end a little before the bound, over several of the moments at which the limit fires.
        for _ in 0..5 {
            let until = Instant::now() + bound;
            let wait = timeout(Duration::from_secs(9), poll_fn(|cx| silence.poll_until(until, cx)));
            assert!(wait.await.is_err(), "early");
            // Nobody asks: that is no silence of the vendor's.
            advance(Duration::from_secs(60)).await;
        }
        let waited = waited(&mut silence, bound).await;
        assert!((bound..bound + Duration::from_millis(5)).contains(&waited), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_may_be_shorter_than_the_one_before() {
        let mut silence = Silence::new();
        for seconds in [600, 120, 600, 1] {
            let bound = Duration::from_secs(seconds);
            let wait = timeout(Duration::from_millis(500), waited(&mut silence, bound)).await;
            assert!(wait.is_err(), "early");
            let waited = waited(&mut silence, bound).await;
            assert!((bound..bound + Duration::from_millis(5)).contains(&waited), "{waited:?}");
        }
    }
}
