//! The gateway as one service.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::admin::{AdminService, Reply};
use crate::auth::AuthService;
use crate::base::error::{Code, Error};
use crate::http::body::ResponseBody;
use crate::http::reply::ReplyTo;
use crate::jobs::VideoJobs;
use crate::provider::registry::Registry;
use crate::route::VendorClient;

use super::api::{Api, ApiBody};
use super::builder::GatewayBuilder;
use super::fork::{Fork, ForkBody};

/// The body of a gateway's answer.
pub type GatewayBody<C> = ForkBody<ResponseBody<ApiBody<C>>>;
/// The future of a [`Gateway`], for requests with the body `B`.
pub type GatewayFuture<C, B> = Fork<<AuthService<Api<C>> as Service<Request<B>>>::Future>;

/// The whole gateway: a `tower::Service` that reaches vendors through the client `C`. Cheap to clone, and always ready: what
/// it must wait for, it waits for in its futures.
///
/// Beside the client API it serves `GET /healthz` and, where there is one, the admin API under `/admin/v1`.
#[derive(Clone, Debug)]
pub struct Gateway<C> {
    api: AuthService<Api<C>>,
    beside: Arc<Beside>,
}

/// What is reached without a caller's key. In one piece: services are cloned for each request.
#[derive(Debug)]
struct Beside {
    admin: Option<AdminService>,
    jobs: Option<VideoJobs>,
}

impl<C> Gateway<C> {
    /// A gateway to the models of `registry`, through `client`.
    pub fn builder(registry: Registry, client: C) -> GatewayBuilder<C> {
        GatewayBuilder::new(registry, client)
    }

    pub(super) fn new(api: AuthService<Api<C>>, admin: Option<AdminService>, jobs: Option<VideoJobs>) -> Self {
        Self { api, beside: Arc::new(Beside { admin, jobs }) }
    }
}

fn health<B>(request: &Request<B>) -> Result<Reply, Error> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Err(Error::new(Code::MethodNotAllowed, "This URL takes GET alone.").allow("GET, HEAD"));
    }
    let mut reply = Response::new(ResponseBody::reply(Bytes::from_static(b"{\"status\":\"ok\"}")));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(reply)
}

impl<C, B> Service<Request<B>> for Gateway<C>
where
    C: VendorClient,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
    AuthService<Api<C>>: Service<Request<B>, Response = Response<ResponseBody<ApiBody<C>>>, Error = Infallible>,
{
    type Response = Response<GatewayBody<C>>;
    type Error = Infallible;
    type Future = GatewayFuture<C, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.api.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        if path == "/healthz" {
            let to = ReplyTo::of(&mut request);
            let mut reply = health(&request).unwrap_or_else(|error| to.error(&error));
            to.stamp(&mut reply);
            return Fork::said(reply);
        }
        if let Some(jobs) = self.beside.jobs.as_ref().filter(|_| VideoJobs::is_callback(path)) {
            return Fork::Job { future: jobs.callback(request) };
        }
        match &self.beside.admin {
            Some(admin) if path == "/admin" || path.starts_with("/admin/") => {
                Fork::Asked { future: admin.clone().call(request) }
            }
            _ => Fork::Inner { future: self.api.call(request) },
        }
    }
}
