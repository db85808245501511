//! The end of a job: told once, booked once.

use serde_json::Value;

use crate::base::error::Error;
use crate::base::log;
use crate::domain::delivery::Delivery;
use crate::domain::job::json::generation;
use crate::domain::job::{Ending, Job, JobError, JobState};
use crate::domain::webhook::EventKind;
use crate::store::error::StoreResult;

use super::{OnUnknown, VideoJobs};

impl VideoJobs {
    /// Ends the job, announces that, and settles it. `None` when somebody else was first.
    pub(super) async fn conclude(&self, mut job: Job, ending: Ending) -> StoreResult<Option<Job>> {
        let charge = self.0.rules.on_unknown == OnUnknown::Charge;
        if !job.end(ending, charge, self.now()) {
            return Ok(None);
        }
        let deliveries = self.deliveries(&job).await?;
        match self.0.store.replace(job, deliveries).await? {
            Some(ended) => {
                if let Some(error) = ended.error.as_ref().filter(|_| ended.is_lost()) {
                    log::job_lost(&ended.id, &ended.model, &error.message);
                }
                Ok(Some(match self.settle(ended.clone()).await {
                    Ok(settled) => settled,
                    Err(error) => {
                        // It has ended all the same, and is due until it is settled.
                        log::store_failed("a job waits for its books", &error);
                        ended
                    }
                }))
            }
            None => Ok(None),
        }
    }

    async fn deliveries(&self, job: &Job) -> StoreResult<Vec<Delivery>> {
        let (Some(webhooks), Some(kind)) = (&self.0.webhooks, event_of(job.state)) else { return Ok(Vec::new()) };
        let data = self.shown(job);
        webhooks.announce(&job.home.workspace, kind, data, job.webhook_url.as_ref()).await
    }

    pub(super) fn shown(&self, job: &Job) -> Value {
        generation(job, self.0.rules.public_base_url.as_deref())
    }

    /// Books what a terminal job came to. Done twice it changes nothing: the hold is settled by its id, once, and the
    /// ledger keeps the first completed record.
    pub(super) async fn settle(&self, mut job: Job) -> StoreResult<Job> {
        let Some(end) = job.settlement() else { return Ok(job) };
        // Before the record: a counter that starts from the ledger in between would count it twice.
        if let (Some(hold), Some(quota)) = (job.lasting_hold(), self.0.quota.get()) {
            quota.settle(hold, Some(end.amounts())).await?;
        }
        if let Some(record) = job.closed_record() {
            self.0.sink.record(record).await?;
        }
        job.settle();
        let stored = self.0.store.replace(job.clone(), Vec::new()).await?;
        Ok(stored.unwrap_or(job))
    }
}

fn event_of(state: JobState) -> Option<EventKind> {
    Some(match state {
        JobState::Queued | JobState::InProgress => return None,
        JobState::Completed => EventKind::Completed,
        JobState::Failed => EventKind::Failed,
        JobState::Cancelled => EventKind::Cancelled,
        JobState::Expired => EventKind::Expired,
    })
}

/// A failure as the job keeps it.
pub(super) fn job_error(error: &Error) -> JobError {
    JobError { code: error.code().as_str().into(), kind: error.code().kind().into(), message: error.message().into() }
}
