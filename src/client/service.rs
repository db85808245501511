//! The client itself, and its bound on the time to the first byte.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use crate::http::body::CallBody;
use crate::http::dial::PublicOnly;
use crate::http::timeout::TimedOut;
use crate::provider::traits::Timeouts;

use super::body::ClientBody;
use super::resolver::PublicResolver;

const CONNECT: Duration = Duration::from_secs(5);
const POOL_IDLE: Duration = Duration::from_secs(60);

/// A pooled HTTP client. Cheap to clone; clones share the pool.
///
/// A request with [`PublicOnly`] in its extensions reaches public addresses alone, whatever its host's name resolves to.
///
/// The time limits are those in the request's extensions ([`Timeouts`]), else the defaults; a connection has five seconds.
#[derive(Clone)]
pub struct HyperClient {
    plain: Client<HttpsConnector<HttpConnector>, CallBody>,
    guarded: Client<HttpsConnector<HttpConnector<PublicResolver>>, CallBody>,
}

impl HyperClient {
    /// A client that trusts Mozilla's root certificates. Plain `http` is accepted: a base URL is the operator's choice.
    pub fn new() -> Self {
        Self {
            plain: pooled(HttpConnector::new()),
            guarded: pooled(HttpConnector::new_with_resolver(PublicResolver::new())),
        }
    }
}

fn pooled<R>(mut tcp: HttpConnector<R>) -> Client<HttpsConnector<HttpConnector<R>>, CallBody>
where
    HttpConnector<R>: Clone,
    HttpsConnector<HttpConnector<R>>: Connect + Clone,
{
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_webpki_roots()
        .https_or_http()
        .enable_http1()
        .enable_http2()
        .wrap_connector(tcp);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .timer(TokioTimer::new())
        .build(connector)
}

impl Default for HyperClient {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HyperClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HyperClient")
    }
}

impl Service<Request<CallBody>> for HyperClient {
    type Response = Response<ClientBody>;
    type Error = Box<dyn StdError + Send + Sync>;
    type Future = ClientFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<CallBody>) -> ClientFuture {
        let timeouts = request.extensions().get::<Timeouts>().copied().unwrap_or_default();
        request
            .headers_mut()
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!("kancy/", env!("CARGO_PKG_VERSION"))));
        let call = match request.extensions().get::<PublicOnly>() {
            Some(_) => self.guarded.request(request),
            None => self.plain.request(request),
        };
        ClientFuture { call, limit: sleep(timeouts.first_byte), idle: timeouts.idle }
    }
}

pin_project! {
    /// The future of [`HyperClient`].
    pub struct ClientFuture {
        #[pin]
        call: ResponseFuture,
        #[pin]
        limit: Sleep,
        idle: Duration,
    }
}

impl Future for ClientFuture {
    type Output = Result<Response<ClientBody>, Box<dyn StdError + Send + Sync>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(answer) = this.call.poll(cx) {
            return Poll::Ready(Ok(answer?.map(|body| ClientBody::new(body, *this.idle))));
        }
        this.limit.poll(cx).map(|()| Err(TimedOut::FirstByte.into()))
    }
}

impl fmt::Debug for ClientFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientFuture")
    }
}
