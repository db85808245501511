//! The client itself, and its bound on the time to the first byte.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use crate::http::body::CallBody;
use crate::http::dial;
use crate::http::fetch::Fetch;
use crate::http::timeout::TimedOut;
use crate::provider::traits::Timeouts;

use super::body::ClientBody;
use super::guard::{PrivateAddress, PublicOnly};

type BoxError = Box<dyn StdError + Send + Sync>;

const CONNECT: Duration = Duration::from_secs(5);
const POOL_IDLE: Duration = Duration::from_secs(60);

/// A pooled HTTP client. Cheap to clone; clones share the pool.
///
/// A request with [`dial::PublicOnly`] or a [`Fetch`] in its extensions reaches public addresses alone, whatever its host's name resolves to.
///
/// The time limits are those in the request's extensions ([`Timeouts`]), else the defaults; a connection has five seconds.
#[derive(Clone)]
pub struct HyperClient(Arc<Pools>);

struct Pools {
    vendors: Pool<GaiResolver>,
    /// For results: a pool apart, so that no connection of the other one is taken past its guard.
    results: Pool<PublicOnly>,
}

type Pool<R> = Client<HttpsConnector<HttpConnector<R>>, CallBody>;

impl HyperClient {
    /// A client that trusts Mozilla's root certificates. Plain `http` is accepted: a base URL is the operator's choice.
    pub fn new() -> Self {
        // Services are cloned for each request, and this one is a kilobyte.
        Self(Arc::new(Pools { vendors: pool(GaiResolver::new()), results: pool(PublicOnly::new()) }))
    }

    fn send(&self, request: Request<CallBody>) -> Sent {
        let fetch = request.extensions().get::<Fetch>().is_some_and(|fetch| !fetch.may_be_private());
        if !fetch && request.extensions().get::<dial::PublicOnly>().is_none() {
            return Sent::Called { call: self.0.vendors.request(request) };
        }
        if PublicOnly::refuses(request.uri()) {
            return Sent::Refused;
        }
        Sent::Called { call: self.0.results.request(request) }
    }
}

fn pool<R>(resolver: R) -> Pool<R>
where
    R: Clone + Send + Sync + 'static,
    HttpsConnector<HttpConnector<R>>: Connect,
    HttpConnector<R>: Service<Uri, Response = TokioIo<TcpStream>, Future: Send, Error: Into<BoxError>>,
{
    let mut tcp = HttpConnector::new_with_resolver(resolver);
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
        ClientFuture { call: self.send(request), limit: sleep(timeouts.first_byte), idle: timeouts.idle }
    }
}

pin_project! {
    #[project = SentProj]
    enum Sent {
        Called { #[pin] call: ResponseFuture },
        Refused,
    }
}

pin_project! {
    /// The future of [`HyperClient`].
    pub struct ClientFuture {
        #[pin]
        call: Sent,
        #[pin]
        limit: Sleep,
        idle: Duration,
    }
}

impl Future for ClientFuture {
    type Output = Result<Response<ClientBody>, Box<dyn StdError + Send + Sync>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = match this.call.project() {
            SentProj::Called { call } => call.poll(cx),
            SentProj::Refused => return Poll::Ready(Err(PrivateAddress.into())),
        };
        if let Poll::Ready(answer) = answer {
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
