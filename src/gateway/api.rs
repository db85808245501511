//! What a caller with a good key reaches: model routes, the models list, usage and requests.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::admin::{Reply, UsageService};
use crate::base::error::{Code, Error};
use crate::domain::caller::Caller;
use crate::domain::endpoint::Endpoint;
use crate::http::body::ResponseBody;
use crate::http::reply::ReplyTo;
use crate::inspect::InspectService;
use crate::jobs::{ReplayService, VideoJobs};
use crate::metering::{MeteringBody, MeteringService};
use crate::provider::registry::Registry;
use crate::quota::{QuotaBody, QuotaService};
use crate::route::{ProviderRouteService, RouteBody, VendorClient, models_reply};
use crate::store::ledger::UsageStore;

use super::fork::{Boxed, Fork, ForkBody};

/// The governed route: what a model request passes.
pub(super) type Models<C> = MeteringService<InspectService<ReplayService<QuotaService<ProviderRouteService<C>>>>>;
type ModelsBody<C> = MeteringBody<ResponseBody<ResponseBody<GovernedBody<C>>>>;
type GovernedBody<C> = QuotaBody<ResponseBody<RouteBody<<C as VendorClient>::Body>>>;

/// The body of an answer behind the key.
pub type ApiBody<C> = ForkBody<Pin<Box<ModelsBody<C>>>>;
/// The future behind the key, for requests with the body `B`.
pub type ApiFuture<C, B> = Fork<Boxed<<Models<C> as Service<Request<B>>>::Future>>;

/// Everything behind the key.
#[derive(Clone, Debug)]
pub struct Api<C> {
    models: Models<C>,
    beside: Arc<Beside>,
}

/// What is no model request. In one piece: services are cloned for each request.
#[derive(Debug)]
struct Beside {
    registry: Registry,
    usage: UsageService,
    jobs: Option<VideoJobs>,
}

impl<C> Api<C> {
    pub(super) fn new(
        models: Models<C>,
        registry: Registry,
        usage: Arc<dyn UsageStore>,
        jobs: Option<VideoJobs>,
    ) -> Self {
        Self { models, beside: Arc::new(Beside { registry, usage: UsageService::new(usage), jobs }) }
    }

    /// What is not a model request: the models list, and URLs that name nothing.
    fn read<B>(&self, request: &Request<B>) -> Result<Reply, Error> {
        let path = request.uri().path();
        let bare = path.strip_prefix("/v1").unwrap_or(path);
        let id = bare.strip_prefix("/models/").filter(|id| !id.is_empty());
        if bare != "/models" && id.is_none() {
            return Err(match Endpoint::of(path) {
                Some(_) => wrong_method("POST"),
                None => {
                    Error::new(Code::NotFound, "There is nothing at this URL. The routes are in the documentation.")
                }
            });
        }
        if request.method() != Method::GET {
            return Err(wrong_method("GET"));
        }
        let caller = request
            .extensions()
            .get::<Caller>()
            .ok_or_else(|| Error::new(Code::InternalError, "The models list stands outside of AuthLayer."))?;
        models_reply(&self.beside.registry, caller, id.map(percent_decoded).as_deref())
    }
}

fn wrong_method(allowed: &'static str) -> Error {
    Error::new(Code::MethodNotAllowed, format!("This URL takes {allowed} alone.")).allow(allowed)
}

/// Model ids may hold `/` and `:`, which some clients encode.
fn percent_decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| byte == b'%') {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &tail[2..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl<C, B> Service<Request<B>> for Api<C>
where
    C: VendorClient,
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
    Models<C>: Service<Request<B>, Response = Response<ModelsBody<C>>, Error = Infallible>,
{
    type Response = Response<ApiBody<C>>;
    type Error = Infallible;
    type Future = ApiFuture<C, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.models.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        if request.method() == Method::POST && Endpoint::of(path).is_some() {
            return Fork::Inner { future: Boxed::new(self.models.call(request)) };
        }
        if let Some(jobs) = self.beside.jobs.as_ref().filter(|_| VideoJobs::serves(path)) {
            return Fork::Job { future: jobs.answer(request) };
        }
        if UsageService::serves(path) {
            return Fork::Asked { future: self.beside.usage.clone().call(request) };
        }
        let to = ReplyTo::of(&mut request);
        Fork::said(self.read(&request).unwrap_or_else(|error| to.error(&error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_ids_are_decoded_and_nothing_else_is_made_of_them() {
        for (text, id) in
            [("gpt-4o", "gpt-4o"), ("a%2Fb%3a1", "a/b:1"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("%C3%BC", "ü")]
        {
            assert_eq!(percent_decoded(text), id);
        }
    }
}
