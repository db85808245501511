//! What a job holds of the limits is kept while it is open, whatever becomes of the process that made it.

use std::time::Duration;

use crate::base::log;
use crate::domain::job::Job;
use crate::store::error::StoreResult;
use crate::store::tables::Page;

use super::VideoJobs;

/// So long after anybody has looked at a job its hold is kept. Longer than a gateway may be down.
const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// Jobs that are read at a time.
const AT_A_TIME: usize = 256;

impl VideoJobs {
    /// Takes on the jobs that are in the store: what has ended is settled, and what the open ones hold is held, so that
    /// counters which were lost with a process are whole again. To be awaited before the first request is admitted;
    /// [`Config::gateway`](crate::config::Config::gateway) has done so.
    pub async fn resume(&self) -> StoreResult<()> {
        let mut page = Page { after: None, limit: AT_A_TIME };
        loop {
            let found = self.0.store.unsettled(page.clone()).await?;
            self.keep_open(&found.items).await;
            for job in found.items {
                // Never held again: a counter that starts from the ledger may find its record there.
                if job.state.is_terminal() {
                    drop(
                        self.settle(job)
                            .await
                            .inspect_err(|error| log::store_failed("a job waits for its books", error)),
                    );
                }
            }
            page.after = found.next;
            if page.after.is_none() {
                return Ok(());
            }
        }
    }

    /// Keeps what open jobs hold, before they are looked at: a store that has forgotten a hold would post nothing at its end.
    /// One that fails is asked again when they are looked at next.
    pub(super) async fn keep_open(&self, jobs: &[Job]) {
        if let Err(error) = self.keep(jobs).await {
            log::store_failed("the holds of video jobs are not kept", &error);
        }
    }

    pub(super) async fn keep(&self, jobs: &[Job]) -> StoreResult<()> {
        let open = jobs.iter().filter(|job| !job.state.is_terminal());
        let holds: Vec<_> = open.filter_map(Job::lasting_hold).collect();
        match self.0.quota.get() {
            Some(quota) if !holds.is_empty() => quota.keep(holds, KEPT).await,
            _ => Ok(()),
        }
    }
}
