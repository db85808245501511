//! The client itself, and its bound on the time to the first byte.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::http::body::CallBody;
use crate::http::dial;
use crate::http::fetch::Fetch;
use crate::http::timeout::TimedOut;
use crate::provider::traits::Timeouts;

use super::BoxError;
use super::body::ClientBody;
use super::exchange::Exchange;
use super::guard::{PrivateAddress, PublicOnly};
use super::pool::Pool;
use super::silence::Silence;

const CONNECT: Duration = Duration::from_secs(5);

/// A pooled HTTP client. Cheap to clone; clones share the pool.
///
/// A request with [`dial::PublicOnly`] or a [`Fetch`] in its extensions reaches public addresses alone, whatever its host's name resolves to.
///
/// The time limits are those in the request's extensions ([`Timeouts`]), else the defaults. A connection has ten seconds, of which TCP may
/// take five.
#[derive(Clone)]
pub struct HyperClient(Arc<Pools>);

struct Pools {
    vendors: Pool,
    /// For results: a pool apart, so that no connection of the other one is taken past its guard.
    results: Pool,
}

impl HyperClient {
    /// A client that trusts Mozilla's root certificates. Plain `http` is accepted: a base URL is the operator's choice.
    pub fn new() -> Self {
        let pools = Pools {
            vendors: Pool::new(connector(GaiResolver::new())),
            results: Pool::new(connector(PublicOnly::new())),
        };
        Self(Arc::new(pools))
    }

    fn send(&self, request: Request<CallBody>) -> Result<Exchange, BoxError> {
        let fetch = request.extensions().get::<Fetch>().is_some_and(|fetch| !fetch.may_be_private());
        let pool = if !fetch && request.extensions().get::<dial::PublicOnly>().is_none() {
            &self.0.vendors
        } else if PublicOnly::refuses(request.uri()) {
            return Err(PrivateAddress.into());
        } else {
            &self.0.results
        };
        Ok(Exchange::new(pool.origin(request.uri())?, request))
    }
}

fn connector<R>(resolver: R) -> HttpsConnector<HttpConnector<R>>
where
    HttpConnector<R>: Service<Uri, Response = TokioIo<TcpStream>, Future: Send, Error: Into<BoxError>>,
{
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.enforce_http(false);
    HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().enable_http2().wrap_connector(tcp)
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
    type Error = BoxError;
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
        let exchange = self.send(request).unwrap_or_else(Exchange::failed);
        ClientFuture::new(exchange, timeouts)
    }
}

/// The future of [`HyperClient`].
pub struct ClientFuture {
    exchange: Exchange,
    silence: Silence,
    idle: Duration,
}

impl ClientFuture {
    pub(super) fn new(exchange: Exchange, limits: Timeouts) -> Self {
        Self { exchange, silence: Silence::new(limits.first_byte), idle: limits.idle }
    }
}

impl Future for ClientFuture {
    type Output = Result<Response<ClientBody>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Poll::Ready(answer) = this.exchange.poll(cx) else {
            return this.silence.poll(cx).map(|()| Err(TimedOut::FirstByte.into()));
        };
        let (response, lease) = answer?;
        let silence = this.silence.pass_on(this.idle);
        Poll::Ready(Ok(response.map(|body| ClientBody::new(body, lease, silence))))
    }
}

impl fmt::Debug for ClientFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientFuture")
    }
}
