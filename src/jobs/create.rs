//! Making a job: stored, journaled, and only then asked for.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request};
use sha2::{Digest, Sha256};

use crate::base::error::{Code, Error};
use crate::base::id::{base62, random};
use crate::domain::caller::Caller;
use crate::domain::job::{Ending, Idempotency, Job, JobState};
use crate::domain::video::{Order, VideoRequest};
use crate::http::body::CallBody;
use crate::http::call::Call;
use crate::http::dial::refusal;
use crate::http::headers::upstream_request_id;
use crate::http::meter::{Meter, Routed};
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
            match jobs.put(&making.job).await? {
                Some(known) => {
                    making.meter.complete();
                    Ok(known)
                }
                None => jobs.begin(making, request).await,
            }
        })
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
        let key_id = caller.key_id().into();
        let mut job = Job::new(id, caller.home().clone(), key_id, call.model().into(), order.clone(), now);
        job.provider = Arc::clone(&target.provider);
        job.warnings = warnings;
        job.metadata = asked.metadata.clone();
        job.webhook_url = webhook_url;
        job.deadline = now.plus(self.0.rules.deadline);
        job.due_at = Some(now.plus(MAKING));
        job.price = call.terms().unwrap_or(&target.terms).price.clone();
        job.price_options = order.price_options(&call.price_options());
        let callback = self.0.rules.public_base_url.as_ref().map(|base| {
            let token = unguessable("");
            let url = format!("{base}/internal/callbacks/{}/{}.{token}", target.provider, job.id);
            job.callback = Some(token.into());
            url
        });
        Ok(Making { job, asked, order, target, codec, callback, meter })
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

    /// From here on the job lives without its caller: the vendor is called in a task of its own.
    async fn begin(&self, mut making: Making, request: Option<Request<CallBody>>) -> Result<Job, Error> {
        let meter = &making.meter;
        meter.route(Routed {
            provider: Arc::clone(&making.target.provider),
            upstream: Arc::clone(&making.target.upstream),
        });
        meter.status(202);
        if !meter.open().await {
            self.forget(&making.job).await;
            let message = "The ledger cannot be written, so nothing was sent to the vendor. Try again shortly.";
            return Err(Error::new(Code::LedgerUnavailable, message).should_retry(true));
        }
        making.job.record = meter.running();
        let stored =
            self.0.store.replace(making.job.clone(), Vec::new()).await.map_err(|error| store_failed(&error))?;
        making.job = stored.ok_or_else(gone)?;
        meter.drain();
        self.meters().insert(Arc::clone(&making.job.id), meter.clone());
        let (kept, promised) = promise();
        let jobs = self.clone();
        self.0.host.spawn(Box::pin(async move { kept.keep(jobs.make(making, request).await) }));
        promised.await.unwrap_or_else(|| Err(Error::new(Code::InternalError, "The job's maker was stopped.")))
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
        job.handle = Some(handle);
        job.record = meter.running();
        job.due_at = Some(self.now().plus(self.pace(&job, &*codec)));
        match self.0.store.replace(job.clone(), Vec::new()).await {
            Ok(Some(stored)) => Ok(stored),
            // Somebody ended it meanwhile; what is stored counts.
            Ok(None) => self.0.store.get(&job.id).await.ok().flatten().ok_or_else(gone),
            Err(error) => Err(store_failed(&error)),
        }
    }

    /// The vendor said no: there is no job, and the request's record tells why.
    async fn refused(&self, making: Making, error: Error) -> Result<Job, Error> {
        self.forget(&making.job).await;
        self.meters().remove(&making.job.id);
        making.meter.fail(&error);
        making.meter.drained();
        Err(error)
    }

    async fn forget(&self, job: &Job) {
        // Left behind, it is found by the driver and ends as unknown.
        let _ = self.0.store.remove(&job.id, job.version).await;
    }

    /// The create may or may not have reached the vendor. It is never repeated.
    async fn lost_create(&self, making: Making, error: Error) -> Result<Job, Error> {
        if let Some(handle) = making.codec.recover(&making.job.id, &making.job.order) {
            return self.created(making, handle).await;
        }
        making.meter.fail(&error);
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
