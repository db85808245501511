//! What is asked of an HTTP client, under one name each; and a client whose type is forgotten.

use std::error::Error as StdError;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tower_service::Service;

use crate::base::error::{Code, Error};

use super::body::CallBody;
use super::timeout::TimedOut;

pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// The response body of a client. Every `Unpin + Send` body of `Bytes` is one; box one that is not `Unpin`.
pub trait VendorBody: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static {}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static> VendorBody for B {}

/// An HTTP client that can reach vendors. Every cloneable `tower::Service<Request<CallBody>>` that answers with a
/// [`VendorBody`] is one; there is no other way to implement it.
///
/// It must send each request once: no retries, no redirects.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an HTTP client for vendors",
    note = "it must be `Clone + Send` and a `Service<http::Request<CallBody>>` whose response is a `http::Response` of an `Unpin + Send` body of `Bytes`"
)]
pub trait VendorClient: Clone + Send + 'static {
    /// Its response body.
    type Body: VendorBody;
    /// Its future.
    type Trip: Future<Output = Result<Response<Self::Body>, BoxError>> + Send + 'static;

    #[doc(hidden)]
    fn poll_free(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>>;

    #[doc(hidden)]
    fn send(&mut self, request: Request<CallBody>) -> Self::Trip;
}

impl<S, B> VendorClient for S
where
    S: Service<Request<CallBody>, Response = Response<B>, Error: Into<BoxError>, Future: Send + 'static>,
    S: Clone + Send + 'static,
    B: VendorBody,
{
    type Body = B;
    type Trip = Trip<S::Future>;

    fn poll_free(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Service::poll_ready(self, cx).map_err(Into::into)
    }

    fn send(&mut self, request: Request<CallBody>) -> Self::Trip {
        Trip { call: Service::call(self, request) }
    }
}

pin_project_lite::pin_project! {
    /// A client's future, its error boxed.
    #[derive(Debug)]
    pub struct Trip<F> {
        #[pin]
        call: F,
    }
}

impl<F, T, E> Future for Trip<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().call.poll(cx).map_err(Into::into)
    }
}

/// What a client's error means. Its text stays here: it may hold addresses.
pub(crate) fn transport_failure(error: &(dyn StdError + 'static)) -> Error {
    match TimedOut::in_chain(error) {
        Some(TimedOut::Idle) => Error::provider(
            Code::ProviderTimeout,
            "The vendor's answer stopped coming. Try again, or name another model.",
        ),
        Some(_) => Error::provider(
            Code::ProviderTimeout,
            "The vendor did not answer in time. Try again, or name another model.",
        ),
        None => Error::provider(
            Code::ProviderError,
            "The connection to the vendor failed. Try again, or name another model.",
        ),
    }
}

/// Whether the vendor cannot have seen the request: no connection came about.
pub(crate) fn never_sent(error: &(dyn StdError + 'static)) -> bool {
    let mut link = Some(error);
    while let Some(error) = link {
        let is_told = error.is::<NoConnection>() || error.downcast_ref() == Some(&TimedOut::Connect);
        // Not one that timed out: so does a connection whose other end is gone.
        if is_told || error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == ErrorKind::ConnectionRefused)
        {
            return true;
        }
        link = error.source();
    }
    false
}

/// No connection came about, so that the vendor has seen nothing of the request. A client of your own returns it (or wraps it
/// as a source), and a video job is refused that would else be taken for one that the vendor may have made.
#[derive(Debug)]
pub struct NoConnection(BoxError);

impl NoConnection {
    /// Says so of what went wrong.
    pub fn new(why: impl Into<BoxError>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for NoConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no connection")
    }
}

impl StdError for NoConnection {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}

/// A client whose type is forgotten, for work that outlives the request that began it.
pub(crate) struct AnyClient(Mutex<Box<dyn Erased>>);

type Answering = Pin<Box<dyn Future<Output = Result<Response<AnyBody>, BoxError>> + Send>>;

trait Erased: Send {
    /// Of a clone, as a client that is ready need not be so for the next request.
    fn send_one(&self, request: Request<CallBody>) -> Answering;
}

impl<C: VendorClient> Erased for C {
    fn send_one(&self, request: Request<CallBody>) -> Answering {
        let mut client = self.clone();
        Box::pin(async move {
            poll_fn(|cx| client.poll_free(cx)).await?;
            let response = VendorClient::send(&mut client, request).await?;
            Ok(response.map(|body| AnyBody(Box::pin(Boxed(body)))))
        })
    }
}

impl AnyClient {
    pub(crate) fn new(client: impl VendorClient) -> Self {
        Self(Mutex::new(Box::new(client)))
    }

    /// Sends one request, once.
    pub(crate) fn send(&self, request: Request<CallBody>) -> Answering {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).send_one(request)
    }
}

impl fmt::Debug for AnyClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyClient")
    }
}

/// A vendor's body whose type is forgotten.
pub(crate) struct AnyBody(Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>);

impl AnyBody {
    /// The bytes up to `limit`; what comes behind is not read.
    pub(crate) async fn collect(mut self, limit: usize) -> Result<Bytes, BoxError> {
        let mut read = BytesMut::new();
        while let Some(frame) = poll_fn(|cx| self.0.as_mut().poll_frame(cx)).await {
            if let Ok(data) = frame?.into_data() {
                read.extend_from_slice(&data[..data.len().min(limit - read.len())]);
            }
            if read.len() == limit {
                break;
            }
        }
        Ok(read.freeze())
    }
}

impl Body for AnyBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl fmt::Debug for AnyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyBody")
    }
}

/// A body with its error boxed.
struct Boxed<B>(B);

impl<B: VendorBody> Body for Boxed<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_connection_that_timed_out_may_have_carried_the_request() {
        let never = |error: BoxError| never_sent(&*error);
        assert!(!never(io::Error::from(ErrorKind::TimedOut).into()));
        assert!(!never(TimedOut::FirstByte.into()));
        assert!(never(TimedOut::Connect.into()));
        assert!(never(io::Error::from(ErrorKind::ConnectionRefused).into()));
        let dialled = NoConnection::new(io::Error::from(ErrorKind::TimedOut));
        assert_eq!(TimedOut::in_chain(&dialled), Some(TimedOut::Connect));
        assert!(never(dialled.into()));
        assert!(never(NoConnection::new("no such name").into()));
    }
}
