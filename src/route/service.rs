//! The service that routes.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response};
use tower_service::Service;

use crate::base::clock::{Clock, SystemClock};
use crate::base::error::{Code, Error};
use crate::domain::caller::Caller;
use crate::domain::modality::Modality;
use crate::http::body::ResponseBody;
use crate::http::call::Call;
use crate::http::meter::{Meter, Routed};
use crate::http::reply::ReplyTo;
use crate::jobs::VideoJobs;
use crate::provider::registry::Registry;
use crate::provider::traits::{Exchange, Target};

use super::body::RouteBody;
use super::drain::Drain;
use super::future::RouteFuture;
use super::making::Making;
use super::pump::Pump;
use super::trip::Trip;
use crate::http::vendor::VendorClient;

/// Sends each call to the vendor of the model that it names, through the HTTP client `C`.
///
/// Stands inside the inspect layer, which finds out what a request calls for. See the [module docs](super).
#[derive(Clone, Debug)]
pub struct ProviderRouteService<C> {
    client: C,
    way: Arc<Way>,
}

/// What all requests share. In one piece: services are cloned for each request.
#[derive(Clone, Debug)]
pub(super) struct Way {
    registry: Registry,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) drain: Option<Drain>,
    jobs: Option<VideoJobs>,
}

impl<C> ProviderRouteService<C> {
    /// Routes to the models of `registry` through `client`.
    pub fn new(registry: Registry, client: C) -> Self {
        let way = Way { registry, clock: Arc::new(SystemClock::new()), drain: None, jobs: None };
        Self { client, way: Arc::new(way) }
    }

    /// Takes the time of the first byte from `clock`.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        Arc::make_mut(&mut self.way).clock = Arc::new(clock);
        self
    }

    /// Reads answers to their end when their callers have left.
    #[must_use]
    pub fn drain(mut self, drain: Drain) -> Self {
        Arc::make_mut(&mut self.way).drain = Some(drain);
        self
    }

    /// Makes video jobs here. Without it, video routes are not available.
    #[must_use]
    pub fn videos(mut self, jobs: VideoJobs) -> Self {
        Arc::make_mut(&mut self.way).jobs = Some(jobs);
        self
    }

    /// The making of a video job, where that is what is asked for.
    fn making<B>(&self, reply: &ReplyTo, meter: &Meter, request: &Request<B>) -> Option<Making> {
        let extensions = request.extensions();
        let (jobs, call) = (self.way.jobs.as_ref()?, extensions.get::<Call>()?);
        if call.endpoint().modality() != Modality::Video {
            return None;
        }
        let caller = extensions.get::<Caller>().cloned();
        let creation = jobs.create(call.clone(), caller, meter.clone(), request.headers());
        let (reply, meter, jobs) = (reply.clone(), meter.clone(), jobs.clone());
        let (endpoint, path) = (call.endpoint(), request.uri().path().into());
        Some(Making { reply, meter, endpoint, path, jobs, creation })
    }

    /// Everything up to the vendor's request; an error is a refusal.
    fn encode(&self, call: Option<&Call>, meter: &Meter) -> Result<(Arc<Target>, Exchange), Error> {
        let Some(call) = call else {
            return Err(Error::new(
                Code::InternalError,
                "This server routes a request that it has not inspected: put InspectLayer around the route service.",
            ));
        };
        let target = self.way.registry.target(call.model()).ok_or_else(|| {
            Error::new(
                Code::ModelNotFound,
                "This model is not registered any more. GET /v1/models lists those that are.",
            )
            .param("model")
        })?;
        meter.route(Routed { provider: Arc::clone(&target.provider), upstream: Arc::clone(&target.upstream) });
        if !target.codec.supports(call.endpoint()) {
            return Err(Error::new(
                Code::ProviderModelUnavailable,
                format!("{} is not available for models of kind {}.", call.endpoint().path(), target.codec.kind()),
            ));
        }
        let exchange = target.codec.encode(call, &target)?;
        Ok((target, exchange))
    }
}

impl<C: VendorClient, B> Service<Request<B>> for ProviderRouteService<C> {
    type Response = Response<ResponseBody<RouteBody<C::Body>>>;
    type Error = Infallible;
    type Future = RouteFuture<C>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Whether the client is ready is asked for each trip: a clone of a ready client need not be.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let reply = ReplyTo::of(&mut request);
        let extensions = request.extensions();
        let meter = extensions.get::<Meter>().cloned().unwrap_or_else(|| Meter::new(Default::default()));
        if let Err(error) = meter.send(extensions.get::<Call>()) {
            return RouteFuture::refused(reply, Meter::new(Default::default()), error);
        }
        if let Some(making) = self.making(&reply, &meter, &request) {
            return RouteFuture::making(making);
        }
        match self.encode(extensions.get::<Call>(), &meter) {
            Err(error) => RouteFuture::refused(reply, meter, error),
            Ok((target, exchange)) => RouteFuture::new(Box::new(Trip {
                pump: Box::new(Pump::new(exchange.decoder, reply.request_id().clone(), meter, Arc::clone(&self.way))),
                reply,
                target,
                request: exchange.request,
                client: self.client.clone(),
                headers: HeaderMap::new(),
                dropped: exchange.dropped,
            })),
        }
    }
}
