//! Making a job: what is asked for, made sure of and stored.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Request};
use sha2::{Digest, Sha256};

use crate::base::error::{Code, Error};
use crate::base::id::{base62, random};
use crate::domain::caller::Caller;
use crate::domain::job::{Idempotency, Job};
use crate::domain::price::Price;
use crate::domain::video::VideoRequest;
use crate::http::body::CallBody;
use crate::http::call::Call;
use crate::http::dial::refusal;
use crate::http::meter::Meter;
use crate::store::jobs::Put;

use super::making::{Making, MakingOf};
use super::promise::promise;
use super::{VideoJobs, request, store_failed};

/// Nobody else touches a job so long after it was stored: longer than a create may take.
const MAKING: Duration = Duration::from_secs(90);

/// How often a twin looks whether the first request has got its job.
const TWIN: Duration = Duration::from_millis(50);

/// A job in the making; a failure is told to the caller.
pub(crate) type Creation = Pin<Box<dyn Future<Output = Result<Job, Error>> + Send>>;

impl VideoJobs {
    /// Makes the job that `call` asks for, or finds the one that the same idempotency key has made.
    pub(crate) fn create(&self, call: Call, caller: Option<Caller>, meter: Meter, headers: &HeaderMap) -> Creation {
        let jobs = self.clone();
        let key = idempotency_key(headers);
        Box::pin(async move {
            let caller = caller.ok_or_else(|| {
                Error::new(Code::InternalError, "Video jobs need an owner: put AuthLayer around the stack.")
            })?;
            let mut making = jobs.prepare(&call, &caller, meter).await?;
            if let Some(key) = key? {
                making.job.idempotency = Some(idempotency(key, &call));
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

    async fn store_and_make(&self, mut making: Making, request: Option<Request<CallBody>>) -> Result<Job, Error> {
        match self.put(&mut making.job).await? {
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
    async fn put(&self, job: &mut Job) -> Result<Option<Job>, Error> {
        loop {
            // Anew after each wait for a twin: a driver must not take it for one whose making was cut.
            job.due_at = Some(self.now().plus(MAKING));
            let known = match self.0.store.put(job.clone()).await.map_err(|error| store_failed(&error))? {
                Put::New => return Ok(None),
                Put::Known(known) => known,
                Put::Reused => return Err(reused()),
            };
            if let Some(made) = self.made(*known).await? {
                return Ok(Some(made));
            }
            // The first request was refused, and its job is gone: now this one is the first.
        }
    }

    /// Waits until a twin's job is made; `None` when the vendor refused it.
    pub(super) async fn made(&self, mut job: Job) -> Result<Option<Job>, Error> {
        while job.handle.is_none() && !job.state.is_terminal() {
            self.0.host.sleep(TWIN).await;
            match self.0.store.get(&job.id).await.map_err(|error| store_failed(&error))? {
                Some(now) => job = now,
                None => return Ok(None),
            }
        }
        Ok(Some(job))
    }
}

/// `prefix` and 128 bits from the operating system: an id that nobody arrives at by counting on from his own.
fn unguessable(prefix: &str) -> String {
    format!("{prefix}{}", base62(&random::<16>(), 22))
}

pub(super) fn reused() -> Error {
    let message = "This Idempotency-Key was used with another body: take a new one for a new job.";
    Error::new(Code::IdempotencyKeyReused, message)
}

/// The one idempotency key of a request's headers.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<Arc<str>>, Error> {
    let refused = |message| Error::new(Code::InvalidParameter, message);
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else { return Ok(None) };
    if keys.next().is_some() {
        return Err(refused("The header Idempotency-Key stands twice: send it once."));
    }
    let key = key.to_str().ok().filter(|key| (1..=255).contains(&key.len()));
    key.map(|key| Some(key.into()))
        .ok_or_else(|| refused("The header Idempotency-Key takes 1 to 255 printable ASCII characters."))
}

pub(super) fn idempotency(key: Arc<str>, call: &Call) -> Idempotency {
    let mut hash = Sha256::new();
    hash.update(call.endpoint().path().as_bytes());
    call.segments().pieces().iter().for_each(|piece| hash.update(piece));
    Idempotency { key, body: base62(&hash.finalize(), 43).into() }
}
