//! The bound on a wait for a vendor's next byte.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How long a vendor may be silent, once and again.
pub(super) struct Silence {
    bound: Duration,
    /// Made at the first wait. It is moved on when it fires, not at each wait: most waits are short.
    limit: Option<Pin<Box<Sleep>>>,
    /// Since when there has been nothing.
    since: Option<Instant>,
}

impl Silence {
    pub(super) fn new(bound: Duration) -> Self {
        Self { bound, limit: None, since: None }
    }

    /// For what comes next, whose bound is another one.
    pub(super) fn pass_on(&mut self, bound: Duration) -> Self {
        Self { bound, limit: self.limit.take(), since: None }
    }

    pub(super) fn bound(&self) -> Duration {
        self.bound
    }

    /// There is nothing yet. Ready when that has lasted too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        // A bound that the clock does not reach is as good as none.
        let until = since.checked_add(self.bound).unwrap_or_else(|| since + TEN_YEARS);
        let limit = self.limit.get_or_insert_with(|| Box::pin(sleep_until(until)));
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

    /// There was something.
    pub(super) fn end(&mut self) {
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{advance, timeout};

    use super::*;

    async fn waited(silence: &mut Silence) -> Duration {
        let start = Instant::now();
        // Nothing but the limit wakes this task.
        poll_fn(|cx| silence.poll(cx)).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_too_long_after_its_bound_however_often_it_was_broken_before() {
        let bound = Duration::from_secs(10);
        let mut silence = Silence::new(bound);
        // Waits that end a little before the bound, over several of the moments at which the limit fires.
        for _ in 0..5 {
            let wait = timeout(Duration::from_secs(9), waited(&mut silence));
            assert!(wait.await.is_err(), "early");
            silence.end();
            // Nobody asks: that is no silence of the vendor's.
            advance(Duration::from_secs(60)).await;
        }
        let waited = waited(&mut silence).await;
        assert!((bound..bound + Duration::from_millis(5)).contains(&waited), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_bound_may_be_shorter_than_the_one_before() {
        let mut silence = Silence::new(Duration::MAX);
        for seconds in [600, 120, 600, 1] {
            assert!(timeout(Duration::from_millis(500), waited(&mut silence)).await.is_err(), "early");
            let bound = Duration::from_secs(seconds);
            silence = silence.pass_on(bound);
            let waited = waited(&mut silence).await;
            assert!((bound..bound + Duration::from_millis(5)).contains(&waited), "{waited:?}");
            silence.end();
        }
    }
}
