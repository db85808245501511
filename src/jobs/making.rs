//! From the stored job to the vendor's answer.

use std::sync::Arc;
use std::time::Duration;

use http::Request;

use crate::base::error::{Code, Error};
use crate::base::log;
use crate::domain::job::{Ending, Job, JobState};
use crate::domain::record::UsageRecord;
use crate::domain::video::{Order, VideoRequest};
use crate::http::body::CallBody;
use crate::http::finish::Ended;
use crate::http::headers::upstream_request_id;
use crate::http::meter::{Booked, Meter, Routed};
use crate::http::vendor::{never_sent, transport_failure};
use crate::provider::traits::Target;
use crate::provider::video::{NewVideo, VideoProvider};
use crate::store::error::StoreResult;

use super::settle::job_error;
use super::{CREATE, VideoJobs, store_failed};

/// The pauses after which the store is told again what was made. Even after a slow create they end before the job is taken
/// for one whose making was cut.
const AGAIN: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

/// Everything that making one job takes.
pub(super) struct Making {
    pub(super) job: Job,
    pub(super) asked: VideoRequest,
    pub(super) order: Order,
    pub(super) target: Arc<Target>,
    pub(super) codec: Arc<dyn VideoProvider>,
    pub(super) callback: Option<String>,
    pub(super) meter: Meter,
}

impl Making {
    pub(super) fn new_video(&self, jobs: &VideoJobs) -> NewVideo<'_> {
        NewVideo {
            job_id: &self.job.id,
            upstream: &self.target.upstream,
            request: &self.asked,
            order: &self.order,
            callback: self.callback.as_deref(),
            deadline: self.job.deadline,
            now: jobs.now(),
        }
    }

    /// Puts into the job what it takes over from its request: the record that it completes and the hold that it settles.
    pub(super) fn enter(&mut self, jobs: &VideoJobs) -> Result<(), Error> {
        let (provider, upstream) = (Arc::clone(&self.target.provider), Arc::clone(&self.target.upstream));
        self.meter.route(Routed { provider, upstream });
        self.meter.status(202);
        self.job.record = self.meter.running().map(|record| Box::new(record.into()));
        self.job.hold = self.meter.lasting().map(Into::into);
        if self.meter.lasts_twice() {
            let message = "This server cannot make video jobs. Its operator has to look into it.";
            return Err(Error::new(Code::InternalError, message)
                .cause("two QuotaLayers stand around the video route, and a job can take over one hold"));
        }
        if self.job.hold.is_some() && jobs.0.quota.get().is_none() {
            return Err(Error::new(
                Code::InternalError,
                "This server cannot make video jobs. Its operator has to look into it.",
            )
            .cause("a QuotaLayer holds for video jobs that do not know its store: hand it to VideoJobs::quota"));
        }
        Ok(())
    }
}

/// The request whose job is made: its guards wait for that. Dropped before the end, by a host that goes down, it leaves
/// all to the job that may be stored.
pub(super) struct MakingOf(Meter);

impl MakingOf {
    pub(super) fn start(meter: Meter) -> Self {
        meter.drain();
        Self(meter)
    }

    /// Unless a job has taken over, the request sees to its own end.
    pub(super) fn end(self) {
        self.0.drained();
    }
}

impl Drop for MakingOf {
    fn drop(&mut self) {
        self.0.hand_over();
    }
}

impl VideoJobs {
    /// The job is stored: what it holds is kept, and journaled, before the vendor is called.
    pub(super) async fn begin(&self, making: Making, request: Option<Request<CallBody>>) -> Result<Job, Error> {
        let (code, message) = if let Err(error) = self.keep(std::slice::from_ref(&making.job)).await {
            log::store_failed("the hold of a video job cannot be kept: the request is refused", &error);
            (Code::QuotaUnavailable, "The limits of this key cannot be checked at the moment. Try again shortly.")
        } else if !making.meter.open().await {
            let message = "The ledger cannot be written, so nothing was sent to the vendor. Try again shortly.";
            (Code::LedgerUnavailable, message)
        } else {
            return self.make(making, request).await;
        };
        self.refused(making, Error::new(code, message)).await
    }

    async fn make(&self, making: Making, request: Option<Request<CallBody>>) -> Result<Job, Error> {
        if let Err(over) = making.meter.call() {
            return self.refused(making, over).await;
        }
        let answer = match self.ask(request, CREATE).await {
            Ok(Some(answer)) => answer,
            Err(error) if never_sent(&*error) => return self.refused(making, transport_failure(&*error)).await,
            Err(error) => return self.lost_create(making, transport_failure(&*error)).await,
            Ok(None) => {
                let message = "The vendor did not answer in time. Whether it made the video is not known.";
                return self.lost_create(making, Error::provider(Code::ProviderTimeout, message)).await;
            }
        };
        if let Some(id) = upstream_request_id(&answer.headers) {
            making.meter.upstream_request_id(id.into());
        }
        match making.codec.created(&making.new_video(self), &answer) {
            Ok(Some(handle)) => self.created(making, handle).await,
            // A success that cannot be read, or a proxy that gave up waiting: the job may well have been made.
            Ok(None) => {
                let message = "The provider's answer could not be read. Whether it made the video is not known.";
                self.lost_create(making, Error::provider(Code::ProviderError, message)).await
            }
            Err(error) if error.code() == Code::ProviderTimeout => self.lost_create(making, error).await,
            Err(error) => self.refused(making, error).await,
        }
    }

    async fn created(&self, making: Making, handle: Arc<str>) -> Result<Job, Error> {
        let Making { mut job, codec, meter, .. } = making;
        meter.hand_over();
        job.handle = Some(handle);
        job.record = meter.running().map(|record| Box::new(record.into()));
        job.due_at = Some(self.now().plus(self.pace(&job, &*codec)));
        match self.replace_surely(&job).await {
            Ok(Some(stored)) => Ok(stored),
            // Somebody ended it meanwhile, or an attempt that seemed to fail came through; what is stored counts.
            Ok(None) => self.0.store.get(&job.id).await.ok().flatten().ok_or_else(gone),
            Err(error) => Err(store_failed(&error)),
        }
    }

    /// Only here is the vendor's name of the job known: lost, the video is billed and nobody finds it.
    async fn replace_surely(&self, job: &Job) -> StoreResult<Option<Job>> {
        for pause in AGAIN {
            match self.0.store.replace(job.clone(), Vec::new()).await {
                Err(error) => log::store_failed("a video job that was made waits to be stored", &error),
                stored => return stored,
            }
            self.0.host.sleep(pause).await;
        }
        self.0.store.replace(job.clone(), Vec::new()).await
    }

    /// Nothing was made, at the vendor's word or ours: the request ends, and its job is taken back. In this order, so that
    /// there is a job until nothing is left to settle; the request's guards come to the same end, and change nothing.
    async fn refused(&self, making: Making, error: Error) -> Result<Job, Error> {
        let Making { job, meter, .. } = making;
        meter.fail(&error);
        meter.status(error.code().status().as_u16());
        let booked = meter.book(Ended::Whole);
        // What cannot be written here is written by those guards.
        if let (Some(hold), Some(quota)) = (job.lasting_hold(), self.0.quota.get()) {
            let _ = quota.settle(hold, booked.amounts()).await;
        }
        if let Some(record) = meter.running() {
            let Booked { outcome, usage, estimated, cost } = booked;
            let took = u64::try_from(self.now().since(record.time).as_millis()).unwrap_or(u64::MAX);
            let (outcome, latency_ms) = (Some(outcome), Some(took));
            let ended = UsageRecord { outcome, latency_ms, usage, estimated, cost, held: None, ..record };
            let _ = self.0.sink.record(ended).await;
        }
        // Left behind, it is found by the driver and ends as unknown.
        let _ = self.0.store.remove(&job.id, job.version).await;
        Err(error)
    }

    /// The create may or may not have reached the vendor. It is never repeated.
    async fn lost_create(&self, mut making: Making, error: Error) -> Result<Job, Error> {
        if let Some(handle) = making.codec.recover(&making.job.id, &making.job.order) {
            return self.created(making, handle).await;
        }
        making.meter.hand_over();
        if let Some(record) = &mut making.job.record {
            record.status = Some(error.code().status().as_u16());
        }
        let ending = Ending::Unknown(JobState::Failed, job_error(&error));
        // A store that fails here leaves the job to the driver, which comes to the same end.
        let _ = self.conclude(making.job, ending).await;
        Err(error)
    }
}

fn gone() -> Error {
    Error::new(Code::InternalError, "The job was changed by somebody else while it was made.")
}
