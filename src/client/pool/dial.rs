//! A new connection: resolved, connected, encrypted, its version of HTTP agreed on.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use crate::client::BoxError;
use crate::http::body::CallBody;
use crate::http::timeout::TimedOut;

/// For all of it. TCP alone has the connector's own, shorter bound.
const DIAL: Duration = Duration::from_secs(10);

/// A way to make connections.
pub(in crate::client) trait Dial: Send + Sync + 'static {
    /// Connects to a URL's host. The connection's own task is spawned.
    fn dial(&self, url: Uri) -> Dialling;
}

type Dialling = Pin<Box<dyn Future<Output = Result<Dialled, BoxError>> + Send>>;

/// The sending end of a connection.
pub(in crate::client) enum Dialled {
    /// For one request at a time.
    Http1(http1::SendRequest<CallBody>),
    /// For many.
    Http2(http2::SendRequest<CallBody>),
}

/// An answer to come, or the request where it was not sent.
pub(in crate::client) type Answer =
    Pin<Box<dyn Future<Output = Result<Response<Incoming>, TrySendError<Request<CallBody>>>> + Send>>;

impl Dialled {
    /// Ready once a request can be sent. Fails where the connection has ended.
    pub(in crate::client) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        match self {
            Self::Http1(sender) => sender.poll_ready(cx),
            Self::Http2(sender) => sender.poll_ready(cx),
        }
    }

    pub(in crate::client) fn send(&mut self, request: Request<CallBody>) -> Answer {
        match self {
            Self::Http1(sender) => Box::pin(sender.try_send_request(request)),
            Self::Http2(sender) => Box::pin(sender.try_send_request(request)),
        }
    }
}

impl<R> Dial for HttpsConnector<HttpConnector<R>>
where
    HttpConnector<R>: Service<Uri, Response = TokioIo<TcpStream>, Future: Send, Error: Into<BoxError>>,
    R: Clone + Send + Sync + 'static,
{
    fn dial(&self, url: Uri) -> Dialling {
        let connector = self.clone();
        Box::pin(async move { timeout(DIAL, connect(connector, url)).await.unwrap_or(Err(TimedOut::Connect.into())) })
    }
}

async fn connect<R>(mut connector: HttpsConnector<HttpConnector<R>>, url: Uri) -> Result<Dialled, BoxError>
where
    HttpConnector<R>: Service<Uri, Response = TokioIo<TcpStream>, Future: Send, Error: Into<BoxError>>,
    R: Send + Sync + 'static,
{
    poll_fn(|cx| connector.poll_ready(cx)).await?;
    let io = connector.call(url).await?;
    if io.connected().is_negotiated_h2() {
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        let (sender, connection) = http2.timer(TokioTimer::new()).handshake(io).await?;
        tokio::spawn(connection);
        return Ok(Dialled::Http2(sender));
    }
    let (sender, connection) = http1::handshake(io).await?;
    tokio::spawn(connection);
    Ok(Dialled::Http1(sender))
}
