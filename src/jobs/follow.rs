//! Following a job at its vendor.

use std::time::Duration;

use crate::base::error::{Code, Error};
use crate::base::id::random;
use crate::domain::job::{Ending, Job, JobState};
use crate::provider::traits::Target;
use crate::provider::video::{Cancel, Seen, VideoProvider};
use crate::store::error::StoreResult;

use super::settle::job_error;
use super::{ASK, VideoJobs, store_failed};

/// Longer than anything that is done under a lease.
pub(super) const LEASE: Duration = Duration::from_secs(120);

/// The longest wait after a poll that failed.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(120);

/// So often in a row must the vendor not know a job before that is believed.
const MISSES: u8 = 2;

impl VideoJobs {
    /// Looks at a job that was leased: asks its vendor, or settles it where it has ended and nobody has yet.
    pub(super) async fn follow(&self, job: Job) -> StoreResult<()> {
        if job.state.is_terminal() {
            return self.settle(job).await.map(drop);
        }
        let Some((target, codec)) = self.vendor(&job.model) else {
            // Taken out of the configuration; it may come back before the deadline.
            let wait = self.0.rules.max_poll;
            return if self.is_late(&job) { self.expire(job, None).await } else { self.later(job, wait).await };
        };
        self.look(job, &target, &*codec).await
    }

    async fn look(&self, mut job: Job, target: &Target, codec: &dyn VideoProvider) -> StoreResult<()> {
        let Some(handle) = job.handle.clone().or_else(|| codec.recover(&job.id)) else {
            let error = Error::provider(Code::ProviderTimeout, "The gateway was stopped while the video was ordered.");
            return self.conclude(job, Ending::Unknown(JobState::Failed, job_error(&error))).await.map(drop);
        };
        let seen = self.poll(&job, &handle, target, codec).await;
        let wait = self.pace(&job, codec);
        job.polls = job.polls.saturating_add(1);
        job.misses = if seen == Ok(Seen::Gone) { job.misses + 1 } else { 0 };
        let now = self.now();
        let wait = match seen {
            Ok(Seen::Completed(videos, mut usage)) => {
                // Where the vendor does not say how long it is, it is as long as was ordered.
                if usage.video_seconds == 0 {
                    usage.video_seconds = job.order.duration;
                }
                return self.conclude(job, Ending::Completed(videos, usage)).await.map(drop);
            }
            Ok(Seen::Failed(error)) => return self.conclude(job, Ending::Failed(job_error(&error))).await.map(drop),
            Ok(Seen::Cancelled) => return self.conclude(job, Ending::Cancelled).await.map(drop),
            Ok(Seen::Expired) => return self.conclude(job, Ending::Expired(late())).await.map(drop),
            Ok(Seen::Gone) if job.misses >= MISSES => {
                let error = Error::provider(Code::ProviderError, "The provider does not know this job any more.");
                return self.conclude(job, Ending::Unknown(JobState::Expired, job_error(&error))).await.map(drop);
            }
            Ok(Seen::Running(progress)) => {
                job.handle = Some(handle.clone());
                job.advance(true, progress.or(Some(self.guess(&job))), now);
                wait
            }
            Ok(Seen::Queued) => {
                job.handle = Some(handle.clone());
                wait
            }
            Ok(Seen::Gone | Seen::Unclear) => wait,
            Err(error) => error.wait().unwrap_or_default().max(wait.saturating_mul(2)).min(LONGEST_BACK_OFF),
        };
        match self.is_late(&job) {
            true => self.expire(job, Some((target, codec))).await,
            false => self.later(job, wait).await,
        }
    }

    async fn poll(&self, job: &Job, handle: &str, target: &Target, codec: &dyn VideoProvider) -> Result<Seen, Error> {
        let request = codec.poll(handle, target, self.now())?;
        // A poll that fails says nothing of the job.
        let failed = || Error::provider(Code::ProviderError, "The provider could not be asked.");
        let answer = self.ask(request, ASK).await.map_err(|_| failed())?.ok_or_else(failed)?;
        codec.polled(job.polls, &answer, self.now())
    }

    async fn later(&self, mut job: Job, wait: Duration) -> StoreResult<()> {
        job.due_at = Some(self.now().plus(wait));
        // Where somebody else was first, theirs is the newer word.
        self.0.store.replace(job, Vec::new()).await.map(drop)
    }

    fn is_late(&self, job: &Job) -> bool {
        self.now() >= job.deadline
    }

    /// Gives a job up at its deadline. Where the vendor confirms that it stopped, nothing is owed; else nobody knows.
    async fn expire(&self, job: Job, vendor: Option<(&Target, &dyn VideoProvider)>) -> StoreResult<()> {
        let stopped = match vendor {
            Some((target, codec)) => self.cancel_at_vendor(&job, target, codec).await.unwrap_or(false),
            None => false,
        };
        let ending = if stopped { Ending::Expired(late()) } else { Ending::Unknown(JobState::Expired, late()) };
        self.conclude(job, ending).await.map(drop)
    }

    /// Whether the vendor has stopped the job. An error: it has no way to.
    async fn cancel_at_vendor(&self, job: &Job, target: &Target, codec: &dyn VideoProvider) -> Result<bool, Error> {
        let Some(handle) = &job.handle else { return Ok(false) };
        match codec.cancel(handle, target, self.now())? {
            Cancel::Done => Ok(true),
            Cancel::Impossible => Err(not_cancellable("This model's vendor cannot stop a job: it runs to its end.")),
            Cancel::Ask(request) => {
                let answer = self.ask(Some(*request), ASK).await;
                Ok(answer.ok().flatten().is_some_and(|answer| codec.cancelled(&answer)))
            }
        }
    }

    /// Cancels at the caller's word.
    pub(super) async fn cancel(&self, job: Job) -> Result<Job, Error> {
        if job.state == JobState::Cancelled {
            return Ok(job);
        }
        if job.state.is_terminal() {
            return Err(not_cancellable("This job is over: there is nothing left to cancel."));
        }
        let (target, codec) =
            self.vendor(&job.model).ok_or_else(|| not_cancellable("This job's model is not registered any more."))?;
        if job.handle.is_none() || !self.cancel_at_vendor(&job, &target, &*codec).await? {
            return Err(not_cancellable("The vendor did not stop this job: it may be too far on, or not far enough."));
        }
        let id = job.id.clone();
        // A poll may have changed the job meanwhile: its new state is ended just the same.
        let mut job = Some(job);
        while let Some(running) = job.take() {
            if let Some(ended) = self.conclude(running, Ending::Cancelled).await.map_err(|e| store_failed(&e))? {
                return Ok(ended);
            }
            let stored = self.0.store.get(&id).await.map_err(|e| store_failed(&e))?;
            match stored {
                Some(stored) if stored.state.is_terminal() => return Ok(stored),
                stored => job = stored,
            }
        }
        Err(Error::new(Code::NotFound, "There is no video job of this id."))
    }

    /// Looks at the vendor's state at a caller's read, when that is due; whoever else reads meanwhile sees what is stored.
    pub(super) async fn refresh(&self, job: Job) -> Result<Job, Error> {
        let now = self.now();
        if job.due_at.is_none_or(|due| due > now) {
            return Ok(job);
        }
        let leased = self.0.store.claim(&job.id, now, now.plus(LEASE)).await;
        if let Some(leased) = leased.map_err(|e| store_failed(&e))? {
            self.follow(leased).await.map_err(|e| store_failed(&e))?;
        }
        let stored = self.0.store.get(&job.id).await.map_err(|e| store_failed(&e))?;
        Ok(stored.unwrap_or(job))
    }

    /// The time to the next poll: the vendor's pace or the operator's floor, a fifth longer each time, give or take a
    /// fifth, so that jobs that were made together are not asked for together.
    pub(super) fn pace(&self, job: &Job, codec: &dyn VideoProvider) -> Duration {
        let rules = &self.0.rules;
        let floor = rules.poll.unwrap_or_else(|| codec.pace());
        let grown = floor.mul_f64(1.2_f64.powi(i32::try_from(job.polls.min(30)).unwrap_or(30)));
        let jitter = 0.8 + f64::from(random::<1>()[0]) / 255.0 * 0.4;
        grown.min(rules.max_poll.max(floor)).mul_f64(jitter)
    }

    /// How far a job may be whose vendor does not say, in percent: most take some two minutes.
    fn guess(&self, job: &Job) -> u8 {
        let elapsed = self.now().since(job.created_at).as_secs();
        u8::try_from((elapsed * 100 / 120).min(95)).unwrap_or(95)
    }
}

fn late() -> crate::domain::job::JobError {
    job_error(&Error::provider(Code::ProviderTimeout, "The video was not done in time."))
}

fn not_cancellable(message: &'static str) -> Error {
    Error::new(Code::VideoNotCancellable, message)
}
