//! What the route asks of an HTTP client, under one name each.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::http::body::CallBody;

pub(super) type BoxError = Box<dyn StdError + Send + Sync>;

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
