//! Making a job: stored, journaled, and only then asked for.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Request};
use sha2::{Digest, Sha256};

use crate::base::error::{Code, Error};
use crate::base::id::{base62, random};
use crate::domain::caller::Caller;
use crate::domain::job::{Ending, Idempotency, Job, JobState};
use crate::domain::price::Price;
use crate::domain::record::UsageRecord;
use crate::domain::video::{Order, VideoRequest};
use crate::http::body::CallBody;
use crate::http::call::Call;
use crate::http::dial::refusal;
use crate::http::finish::Ended;
use crate::http::headers::upstream_request_id;
use crate::http::meter::{Booked, Meter, Routed};
use crate::http::vendor::{never_sent, transport_failure};
use crate::provider::traits::Target;
use crate::provider::video::{NewVideo, VideoProvider};
use crate::store::jobs::Put;

use super::promise::promise;
use super::settle::job_error;
use super::{CREATE, VideoJobs, request, store_failed};

/// Nobody else touches a job so long after it was stored: longer than a create may take.
const MAKING: Duration = Duration::from_secs(90);

/// How often a twin looks whether the first request has got its job.
const TWIN: Duration = Duration::from_millis(50);

/// A job in the making; a failure is told to the caller.
pub(crate) type Creation = Pin<Box<dyn Future<Output = Result<Job, Error>> + Send>>;

/// Everything that making one job takes.
struct Making {
    job: Job,
    asked: VideoRequest,
    order: Order,
    target: Arc<Target>,
    codec: Arc<dyn VideoProvider>,
    callback: Option<String>,
    meter: Meter,
}

impl Making {
    fn new_video(&self, jobs: &VideoJobs) -> NewVideo<'_> {
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
}

impl Making {
    /// Puts into the job what it takes over from its request: the record that it completes and the hold that it settles.
    fn enter(&mut self, jobs: &VideoJobs) -> Result<(), Error> {
        let (provider, upstream) = (Arc::clone(&self.target.provider), Arc::clone(&self.target.upstream));
        self.meter.route(Routed { provider, upstream });
        self.meter.status(202);
        self.job.record = self.meter.running().map(|record| Box::new(record.into()));
        self.job.hold = self.meter.lasting().map(Into::into);
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
struct MakingOf(Meter);

impl MakingOf {
    fn start(meter: Meter) -> Self {
        meter.drain();
        Self(meter)
    }

    /// Unless a job has taken over, the request sees to its own end.
    fn end(self) {
        self.0.drained();
    }
}

impl Drop for MakingOf {
    fn drop(&mut self) {
        self.0.hand_over();
    }
}

impl VideoJobs {
    /// Makes the job that `call` asks for, or finds the one that the same idempotency key has made.
    pub(crate) fn create(&self, call: Call, caller: Option<Caller>, meter: Meter, headers: &HeaderMap) -> Creation {
        let jobs = self.clone();
        let key = headers.get("idempotency-key").cloned();
        Box::pin(async move {
            let caller = caller.ok_or_else(|| {
                Error::new(Code::InternalError, "Video jobs need an owner: put AuthLayer around the stack.")
            })?;
            let mut making = jobs.prepare(&call, &caller, meter).await?;
            if let Some(key) = key {
                making.job.idempotency = Some(idempotency(&key, &call)?);
            }
            // Encoded before anything is stored: what the codec refuses leaves no trace.
            let request = making.codec.create(&making.new_video(&jobs), &making.target)?;
            making.enter(&jobs)?;
            // From here on all goes on without the caller, too.
            let (kept, promised) = promise();
            let (maker, making_of) = (jobs.clone(), MakingOf::start(making.meter.clone()));
            jobs.0.host.spawn(Box::pin(async move {
                let made = maker.store_and_make(making, request).await;
                making_of.end();
                kept.keep(made);
            }));
            promised.await.unwrap_or_else(|| Err(Error::new(Code::InternalError, "The job's maker was stopped.")))
        })
    }

    async fn store_and_make(&self, making: Making, request: Option<Request<CallBody>>) -> Result<Job, Error> {
        match self.put(&making.job).await? {
            None => self.begin(making, request).await,
            Some(known) => {
                making.meter.complete();
                Ok(known)
            }
        }
    }

    async fn prepare(&self, call: &Call, caller: &Caller, meter: Meter) -> Result<Making, Error> {
        let asked = request::read(call)?;
        let (target, codec) = self.vendor(call.model()).ok_or_else(|| {
            let message = format!("{} is not available for this model.", call.endpoint().path());
            Error::new(Code::ProviderModelUnavailable, message).param("model")
        })?;
        let row = target.terms.video.unwrap_or_else(|| codec.abilities(&target.upstream));
        let (order, mut warnings) = row.settle(&asked, target.terms.options)?;
        warnings.extend(codec.warnings(&asked));
        let webhook_url = self.webhook_url(&asked, caller).await?;
        let now = self.now();
        let id: Arc<str> = unguessable("vidgen_").into();
        let (key_id, model) = (caller.shared_key_id(), Arc::clone(&target.terms.id));
        let mut job = Job::new(id, caller.home().clone(), key_id, model, order.clone(), now);
        job.provider = Arc::clone(&target.provider);
        job.warnings = warnings;
        job.metadata = asked.metadata.clone().map(Box::new);
        job.webhook_url = webhook_url;
        job.deadline = now.plus(self.0.rules.deadline);
        job.due_at = Some(now.plus(MAKING));
        job.price = self.shared_price(&job.model, &call.terms().unwrap_or(&target.terms).price);
        let callback = self.0.rules.public_base_url.as_ref().map(|base| {
            let token = unguessable("");
            let url = format!("{base}/internal/callbacks/{}/{}.{token}", target.provider, job.id);
            job.callback = Some(token.into());
            url
        });
        Ok(Making { job, asked, order, target, codec, callback, meter })
    }

    /// One price for all jobs of a model, as long as it does not change.
    fn shared_price(&self, model: &Arc<str>, price: &Price) -> Arc<Price> {
        let mut prices = self.0.prices.lock().unwrap_or_else(PoisonError::into_inner);
        match prices.get(model) {
            Some(known) if **known == *price => Arc::clone(known),
            _ => {
                let new = Arc::new(price.clone());
                prices.insert(Arc::clone(model), Arc::clone(&new));
                new
            }
        }
    }

    /// A job's own webhook goes out with the workspace's secret, so there must be one.
    async fn webhook_url(&self, asked: &VideoRequest, caller: &Caller) -> Result<Option<Arc<str>>, Error> {
        let Some(url) = &asked.webhook_url else { return Ok(None) };
        let endpoints = match &self.0.webhooks {
            Some(webhooks) => webhooks.endpoints_of(&caller.home().workspace).await,
            None => Ok(Vec::new()),
        };
        let endpoints = endpoints.map_err(|error| store_failed(&error))?;
        let Some(endpoint) = endpoints.first() else {
            let message = "This workspace has no webhook: its operator adds one before jobs may name their own.";
            return Err(Error::new(Code::CallbacksNotEnabled, message).param("webhook_url"));
        };
        let refused = url.parse().map_or(Some("is no URL"), |url| refusal(&url, endpoint.allow_private));
        match refused {
            None => Ok(Some(url.as_str().into())),
            Some(why) => {
                Err(Error::new(Code::InvalidParameter, format!("The field `webhook_url` {why}.")).param("webhook_url"))
            }
        }
    }

    /// Stores the job; or gives the one that its idempotency key has made, when that is there.
    async fn put(&self, job: &Job) -> Result<Option<Job>, Error> {
        loop {
            let known = match self.0.store.put(job.clone()).await.map_err(|error| store_failed(&error))? {
                Put::New => return Ok(None),
                Put::Known(known) => known,
                Put::Reused => {
                    let message = "This Idempotency-Key was used with another body: take a new one for a new job.";
                    return Err(Error::new(Code::IdempotencyKeyReused, message));
                }
            };
            if let Some(made) = self.made(*known).await? {
                return Ok(Some(made));
            }
            // The first request was refused, and its job is gone: now this one is the first.
        }
    }

    /// Waits until a twin's job is made; `None` when the vendor refused it.
    async fn made(&self, mut job: Job) -> Result<Option<Job>, Error> {
        while job.handle.is_none() && !job.state.is_terminal() {
            self.0.host.sleep(TWIN).await;
            match self.0.store.get(&job.id).await.map_err(|error| store_failed(&error))? {
                Some(now) => job = now,
                None => return Ok(None),
            }
        }
        Ok(Some(job))
    }

    /// The job is stored: what it holds is kept, and journaled, before the vendor is called.
    async fn begin(&self, making: Making, request: Option<Request<CallBody>>) -> Result<Job, Error> {
        self.keep(std::slice::from_ref(&making.job)).await;
        if making.meter.open().await {
            return self.make(making, request).await;
        }
        let message = "The ledger cannot be written, so nothing was sent to the vendor. Try again shortly.";
        self.refused(making, Error::new(Code::LedgerUnavailable, message).should_retry(true)).await
    }

    async fn make(&self, making: Making, request: Option<Request<CallBody>>) -> Result<Job, Error> {
        making.meter.call();
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
        match self.0.store.replace(job.clone(), Vec::new()).await {
            Ok(Some(stored)) => Ok(stored),
            // Somebody ended it meanwhile; what is stored counts.
            Ok(None) => self.0.store.get(&job.id).await.ok().flatten().ok_or_else(gone),
            Err(error) => Err(store_failed(&error)),
        }
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

/// `prefix` and 128 bits from the operating system: an id that nobody arrives at by counting on from his own.
fn unguessable(prefix: &str) -> String {
    format!("{prefix}{}", base62(&random::<16>(), 22))
}

fn gone() -> Error {
    Error::new(Code::InternalError, "The job was changed by somebody else while it was made.")
}

fn idempotency(key: &http::HeaderValue, call: &Call) -> Result<Idempotency, Error> {
    let key = key.to_str().ok().filter(|key| (1..=255).contains(&key.len())).ok_or_else(|| {
        Error::new(Code::InvalidParameter, "The header Idempotency-Key takes 1 to 255 printable ASCII characters.")
    })?;
    let mut hash = Sha256::new();
    hash.update(call.endpoint().path().as_bytes());
    call.segments().pieces().iter().for_each(|piece| hash.update(piece));
    Ok(Idempotency { key: key.into(), body: base62(&hash.finalize(), 43).into() })
}
