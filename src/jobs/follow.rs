//! Following a job at its vendor.

use std::sync::Arc;
use std::time::Duration;

use crate::base::error::{Code, Error};
use crate::base::id::random;
use crate::base::log;
use crate::domain::job::{Ending, Job, JobState};
use crate::provider::traits::Target;
use crate::provider::video::{Batch, Cancel, Seen, VideoProvider};
use crate::store::error::StoreResult;

use super::settle::job_error;
use super::{ASK, MAX_ANSWERS, VideoJobs, store_failed};

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
            return if self.is_late(&job) { self.expire(job, None, false).await } else { self.later(job, wait).await };
        };
        self.look(job, &target, &*codec).await
    }

    async fn look(&self, job: Job, target: &Target, codec: &dyn VideoProvider) -> StoreResult<()> {
        let Some(handle) = self.handle(&job, codec) else {
            let error = Error::provider(Code::ProviderTimeout, "The gateway was stopped while the video was ordered.");
            return self.conclude(job, Ending::Unknown(JobState::Failed, job_error(&error))).await.map(drop);
        };
        let seen = self.poll(&job, &handle, target, codec).await;
        self.note(job, handle, seen, target, codec).await
    }

    /// Looks at several jobs of one vendor in one request; what that does not tell is asked for alone.
    pub(super) async fn follow_many(
        &self,
        jobs: Vec<(Job, Arc<str>)>,
        target: &Target,
        codec: &dyn VideoProvider,
        batch: &dyn Batch,
    ) -> StoreResult<()> {
        let handles: Vec<&str> = jobs.iter().map(|(_, handle)| &**handle).collect();
        let told = self.poll_many(&handles, target, batch).await;
        let count = jobs.len();
        let told = told.map_or_else(
            |error| vec![Some(Err(error)); count],
            |seen| seen.into_iter().map(|seen| seen.map(Ok)).chain(std::iter::repeat(None)).take(count).collect(),
        );
        let mut result = Ok(());
        for ((job, handle), seen) in jobs.into_iter().zip(told) {
            let noted = match seen {
                Some(seen) => self.note(job, handle, seen, target, codec).await,
                None => self.look(job, target, codec).await,
            };
            // One that cannot be stored is due again when its lease ends; the others go on.
            result = result.and(noted);
        }
        result
    }

    async fn poll_many(
        &self,
        handles: &[&str],
        target: &Target,
        batch: &dyn Batch,
    ) -> Result<Vec<Option<Seen>>, Error> {
        let request = batch.ask(handles, target)?;
        let answer = self.ask_for(request, ASK, MAX_ANSWERS).await.map_err(|_| not_asked())?.ok_or_else(not_asked)?;
        batch.read(handles, &answer, self.now())
    }

    /// By what the vendor knows the job.
    pub(super) fn handle(&self, job: &Job, codec: &dyn VideoProvider) -> Option<Arc<str>> {
        job.handle.clone().or_else(|| codec.recover(&job.id, &job.order))
    }

    /// Takes down what a poll found.
    async fn note(
        &self,
        mut job: Job,
        handle: Arc<str>,
        seen: Result<Seen, Error>,
        target: &Target,
        codec: &dyn VideoProvider,
    ) -> StoreResult<()> {
        let wait = self.pace(&job, codec);
        job.polls = job.polls.saturating_add(1);
        job.misses = if seen == Ok(Seen::Gone) { job.misses.saturating_add(1) } else { 0 };
        let now = self.now();
        let is_open = matches!(seen, Ok(Seen::Queued | Seen::Running(_)));
        let wait = match seen {
            Ok(Seen::Completed(videos, usage)) => {
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
                job.handle = Some(handle);
                job.advance(true, progress.or(Some(self.guess(&job))), now);
                wait
            }
            Ok(Seen::Queued) => {
                job.handle = Some(handle);
                wait
            }
            Ok(Seen::Gone) => wait,
            Ok(Seen::Unclear) => {
                log::job_unclear(&job.id, &job.provider);
                wait
            }
            Err(error) => {
                log::poll_failed(&job.id, &error);
                error.wait().unwrap_or_default().max(wait.saturating_mul(2)).min(LONGEST_BACK_OFF)
            }
        };
        match self.is_late(&job) {
            true => self.expire(job, Some((target, codec)), is_open).await,
            false => self.later(job, wait).await,
        }
    }

    async fn poll(&self, job: &Job, handle: &str, target: &Target, codec: &dyn VideoProvider) -> Result<Seen, Error> {
        let request = codec.poll(handle, target, self.now())?;
        // A poll that fails says nothing of the job.
        let answer = self.ask(request, ASK).await.map_err(|_| not_asked())?.ok_or_else(not_asked)?;
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

    /// Gives a job up at its deadline. Where the vendor confirms that it stopped one that was `open` a moment ago, nothing
    /// is owed; else nobody knows.
    async fn expire(&self, job: Job, vendor: Option<(&Target, &dyn VideoProvider)>, open: bool) -> StoreResult<()> {
        let stopped = match (vendor, &job.handle) {
            (Some((target, codec)), Some(handle)) => self.stop(handle, target, codec).await.unwrap_or(false),
            _ => false,
        };
        let ending = if stopped && open { Ending::Expired(late()) } else { Ending::Unknown(JobState::Expired, late()) };
        self.conclude(job, ending).await.map(drop)
    }

    /// Whether the vendor has stopped the job. An error: it has no way to.
    async fn stop(&self, handle: &str, target: &Target, codec: &dyn VideoProvider) -> Result<bool, Error> {
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
        const OVER: &str = "This job is over: there is nothing left to cancel.";
        if job.state == JobState::Cancelled {
            return Ok(job);
        }
        if job.state.is_terminal() {
            return Err(not_cancellable(OVER));
        }
        let (target, codec) =
            self.vendor(&job.model).ok_or_else(|| not_cancellable("This job's model is not registered any more."))?;
        let Some(handle) = job.handle.clone() else {
            return Err(not_cancellable("This job is still being made: cancel it in a moment."));
        };
        self.keep_open(std::slice::from_ref(&job)).await;
        if matches!(codec.cancel(&handle, &target, self.now())?, Cancel::Ask(_)) {
            // Some vendors delete what has ended, and call that a success: it must be paid for all the same.
            let seen = self.poll(&job, &handle, &target, &*codec).await;
            let has_ended = matches!(seen, Ok(Seen::Completed(..) | Seen::Failed(_) | Seen::Cancelled | Seen::Expired));
            if has_ended {
                let id = Arc::clone(&job.id);
                self.note(job, handle, seen, &target, &*codec).await.map_err(|e| store_failed(&e))?;
                let ended = self.0.store.get(&id).await.map_err(|e| store_failed(&e))?;
                return ended.filter(|job| job.state == JobState::Cancelled).ok_or_else(|| not_cancellable(OVER));
            }
        }
        if !self.stop(&handle, &target, &*codec).await? {
            return Err(not_cancellable("The vendor did not stop this job: it is too far on."));
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
            self.keep_open(std::slice::from_ref(&leased)).await;
            self.follow(leased).await.map_err(|e| store_failed(&e))?;
        }
        let stored = self.0.store.get(&job.id).await.map_err(|e| store_failed(&e))?;
        Ok(stored.unwrap_or(job))
    }

    /// The time to the next poll: the vendor's pace or the operator's floor, a fifth longer each time, give or take a
    /// fifth within those bounds, so that jobs that were made together are not asked for together.
    pub(super) fn pace(&self, job: &Job, codec: &dyn VideoProvider) -> Duration {
        let rules = &self.0.rules;
        let floor = rules.poll.unwrap_or_else(|| codec.pace());
        let grown = floor.mul_f64(1.2_f64.powi(i32::try_from(job.polls.min(30)).unwrap_or(30)));
        let jitter = 0.8 + f64::from(random::<1>()[0]) / 255.0 * 0.4;
        let most = rules.max_poll.max(floor);
        grown.min(most).mul_f64(jitter).clamp(floor, most)
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

fn not_asked() -> Error {
    Error::provider(Code::ProviderError, "The provider could not be asked.")
}

fn not_cancellable(message: &'static str) -> Error {
    Error::new(Code::VideoNotCancellable, message)
}
