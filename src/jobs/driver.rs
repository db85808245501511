//! Following all jobs that are due, whether their callers come back or not.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::domain::job::Job;
use crate::store::error::StoreResult;

use super::VideoJobs;
use super::follow::LEASE;

/// How often the store is asked for what is due.
const LOOK: Duration = Duration::from_millis(500);

/// Jobs that are looked at at the same time.
const AT_ONCE: usize = 256;

impl VideoJobs {
    /// Follows jobs, for ever. The host spawns it on every instance, and drops it when it goes down: what it had leased
    /// is due again when the lease ends.
    pub fn drive(&self) -> impl Future<Output = ()> + Send + 'static {
        let jobs = self.clone();
        async move {
            let running = Arc::new(AtomicUsize::new(0));
            loop {
                // A store that cannot be read now is asked again at the next look.
                let _ = jobs.start_due(&running).await;
                jobs.0.host.sleep(LOOK).await;
            }
        }
    }

    async fn start_due(&self, running: &Arc<AtomicUsize>) -> StoreResult<()> {
        let free = AT_ONCE.saturating_sub(running.load(Ordering::Acquire));
        for job in self.take_due(free).await? {
            let (jobs, turn) = (self.clone(), Turn::take(running));
            self.0.host.spawn(Box::pin(async move {
                let _turn = turn;
                // What fails here is due again when the lease ends.
                let _ = jobs.follow(job).await;
            }));
        }
        Ok(())
    }

    async fn take_due(&self, limit: usize) -> StoreResult<Vec<Job>> {
        let now = self.now();
        let due = self.0.store.due(now, now.plus(LEASE), limit).await?;
        self.keep_open(&due).await;
        Ok(due)
    }

    /// Looks at every job that is due now, one after another, and tells how many those were. For hosts with a loop of
    /// their own, and for tests.
    pub async fn follow_due(&self) -> StoreResult<usize> {
        let due = self.take_due(AT_ONCE).await?;
        let count = due.len();
        for job in due {
            self.follow(job).await?;
        }
        Ok(count)
    }
}

/// One of the jobs under way; given back on drop, a panic included.
struct Turn(Arc<AtomicUsize>);

impl Turn {
    fn take(running: &Arc<AtomicUsize>) -> Self {
        running.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(running))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
