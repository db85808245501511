//! A create that is asked for again is answered with what was made then, before any limit is asked: it takes nothing.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::base::error::Error;
use crate::domain::caller::Caller;
use crate::domain::endpoint::Endpoint;
use crate::domain::job::Job;
use crate::http::body::ResponseBody;
use crate::http::call::Call;
use crate::http::meter::Meter;
use crate::http::reply::ReplyTo;

use super::create::{idempotency, idempotency_key, reused};
use super::{VideoJobs, store_failed};

/// Answers a create whose `Idempotency-Key` has a job already, so that who asks again is not refused for a limit that this
/// very job has filled.
///
/// Stands inside [`InspectLayer`](crate::InspectLayer) and outside of [`QuotaLayer`](crate::QuotaLayer). Without it such a
/// create is admitted like a new one, and then given the same job.
#[derive(Clone, Debug)]
pub struct ReplayLayer {
    jobs: Option<VideoJobs>,
}

impl ReplayLayer {
    /// Looks among `jobs`; where there are none, every request is handed on.
    pub fn new(jobs: impl Into<Option<VideoJobs>>) -> Self {
        Self { jobs: jobs.into() }
    }
}

impl<S> Layer<S> for ReplayLayer {
    type Service = ReplayService<S>;

    fn layer(&self, inner: S) -> ReplayService<S> {
        ReplayService { inner, jobs: self.jobs.clone() }
    }
}

/// The service of [`ReplayLayer`].
#[derive(Clone, Debug)]
pub struct ReplayService<S> {
    inner: S,
    jobs: Option<VideoJobs>,
}

impl<S, B, RB> Service<Request<B>> for ReplayService<S>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone,
{
    type Response = Response<ResponseBody<RB>>;
    type Error = S::Error;
    type Future = ReplayFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> ReplayFuture<S, B> {
        let asked = self.jobs.as_ref().and_then(|jobs| Asked::of(jobs, &request));
        let state = match asked {
            None => State::Calling { future: self.inner.call(request) },
            Some(asked) => {
                // The clone is not ready: the one that is goes with the request.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                State::Looking { looking: Box::pin(asked.look()), held: Some(Box::new((ready, request))) }
            }
        };
        ReplayFuture { state }
    }
}

/// A create with an idempotency key.
struct Asked {
    jobs: VideoJobs,
    call: Call,
    caller: Caller,
    key: Result<Arc<str>, Error>,
}

impl Asked {
    fn of<B>(jobs: &VideoJobs, request: &Request<B>) -> Option<Self> {
        let call = request.extensions().get::<Call>().filter(|call| call.endpoint().makes_job())?;
        let caller = request.extensions().get::<Caller>()?;
        let key = idempotency_key(request.headers()).transpose()?;
        Some(Self { jobs: jobs.clone(), call: call.clone(), caller: caller.clone(), key })
    }

    /// The job of the same create; `None` where this one is the first.
    async fn look(self) -> Result<Option<Found>, Error> {
        let Self { jobs, call, caller, key } = self;
        let used = idempotency(key?, &call);
        let twin = jobs.0.store.twin(caller.key_id(), &used.key, jobs.now()).await;
        let Some(twin) = twin.map_err(|error| store_failed(&error))? else { return Ok(None) };
        if twin.idempotency.as_ref().map(|twins| &twins.body) != Some(&used.body) {
            return Err(reused());
        }
        let made = jobs.made(twin).await?;
        Ok(made.map(|job| (jobs, call.endpoint(), job)))
    }
}

/// A job, and what it takes to answer with it.
type Found = (VideoJobs, Endpoint, Job);
type Looking = Pin<Box<dyn Future<Output = Result<Option<Found>, Error>> + Send>>;

pin_project! {
    /// The future of [`ReplayService`].
    pub struct ReplayFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, S::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F> {
        Looking { looking: Looking, held: Option<Box<(S, Request<B>)>> },
        Calling { #[pin] future: F },
    }
}

impl<S, B, RB> Future for ReplayFuture<S, B>
where
    S: Service<Request<B>, Response = Response<RB>>,
{
    type Output = Result<Response<ResponseBody<RB>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let (looking, held) = match state.as_mut().project() {
                StateProj::Looking { looking, held } => (looking, held),
                StateProj::Calling { future } => {
                    return future.poll(cx).map(|answer| answer.map(|response| response.map(ResponseBody::inner)));
                }
            };
            let found = ready!(looking.as_mut().poll(cx));
            let Some(held) = held.take() else { return Poll::Pending };
            let (mut inner, mut request) = *held;
            let reply = ReplyTo::of(&mut request);
            let meter = request.extensions().get::<Meter>();
            let mut response = match found {
                Ok(None) => {
                    state.set(State::Calling { future: inner.call(request) });
                    continue;
                }
                Ok(Some((jobs, endpoint, job))) => {
                    meter.into_iter().for_each(Meter::complete);
                    jobs.accepted(endpoint, request.uri().path(), &job)
                }
                Err(error) => {
                    meter.into_iter().for_each(|meter| meter.fail(&error));
                    reply.error(&error)
                }
            };
            reply.stamp(&mut response);
            return Poll::Ready(Ok(response));
        }
    }
}

impl<S, B> fmt::Debug for ReplayFuture<S, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplayFuture")
    }
}
