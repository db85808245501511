//! The limit on a wait for a vendor's next byte.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, Sleep, sleep_until};

const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// When a wait is too long. A bound that the clock does not reach is as good as none.
pub(in crate::client) fn end_of(since: Instant, bound: Duration) -> Instant {
    since.checked_add(bound).unwrap_or_else(|| since + TEN_YEARS)
}

/// A timer that stays with a connection. It is moved on when it fires, not at each wait: most waits are short.
pub(in crate::client) struct Silence {
    limit: Pin<Box<Sleep>>,
    runtime: Id,
}

impl Silence {
    /// On the runtime that it is called on.
    pub(super) fn new() -> Self {
        Self { limit: Box::pin(sleep_until(Instant::now())), runtime: Handle::current().id() }
    }

    /// There is nothing yet. Ready once `until` has come.
    pub(in crate::client) fn poll_until(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        // The timers of another runtime stand still when nobody drives it, and panic when it is gone.
        if Handle::try_current().is_ok_and(|here| here.id() != self.runtime) {
            *self = Self::new();
        }
        let limit = &mut self.limit;
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

    use tokio::runtime::{Builder, Runtime};
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

    #[test]
    fn a_wait_may_be_on_another_runtime_than_the_one_before() {
        let runtime = || Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let (first, second) = (runtime(), runtime());
        let bound = Duration::from_secs(10);
        let mut silence = first.block_on(async { Silence::new() });
        let mut wait = |runtime: &Runtime| {
            runtime
                .block_on(async { timeout(bound * 2, waited(&mut silence, bound)).await })
                .map(|waited| waited.as_secs())
        };
        assert_eq!(wait(&first), Ok(10));
        assert_eq!(wait(&second), Ok(10));
        drop(second);
        assert_eq!(wait(&first), Ok(10));
    }
}
