//! The end of a job: told once, booked once.

use std::sync::Arc;

use serde_json::Value;

use crate::base::error::{Code, Error};
use crate::base::log;
use crate::domain::delivery::Delivery;
use crate::domain::job::{Ending, Job, JobError, JobState};
use crate::domain::job_json::generation;
use crate::domain::webhook::EventKind;
use crate::http::meter::Booked;
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
                self.settle(ended).await.map(Some)
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

    /// Books what a terminal job came to. Done twice it changes nothing: the grant settles once, and the ledger keeps
    /// the first completed record.
    pub(super) async fn settle(&self, mut job: Job) -> StoreResult<Job> {
        self.release(&job);
        if let Some(record) = job.closed_record() {
            self.0.sink.record(record).await?;
        }
        job.settled = true;
        job.due_at = None;
        let stored = self.0.store.replace(job.clone(), Vec::new()).await?;
        Ok(stored.unwrap_or(job))
    }

    /// Settles the grant of a job that was made in this process.
    pub(super) fn release(&self, job: &Job) {
        let Some(end) = job.settlement() else { return };
        let Some(meter) = self.meters().remove(&job.id) else { return };
        if let Some(error) = job.error.as_ref().and_then(error_of) {
            meter.fail(&error);
        }
        let booked = Booked { outcome: end.outcome, usage: end.usage, estimated: end.estimated, cost: end.cost };
        meter.close(booked);
    }

    /// Settles the grants of jobs that were made here and ended elsewhere: another instance has their last word.
    pub(super) async fn sweep(&self) {
        let open: Vec<Arc<str>> = self.meters().keys().cloned().collect();
        for id in open {
            if let Ok(Some(job)) = self.0.store.get(&id).await {
                self.release(&job);
            }
        }
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

fn error_of(kept: &JobError) -> Option<Error> {
    let code = Code::ALL.iter().find(|code| code.as_str() == &*kept.code)?;
    Some(Error::provider(*code, kept.message.to_string()))
}
