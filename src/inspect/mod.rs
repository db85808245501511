//! Inspection: the body is collected once, bounded, and its facts are read in one pass.
//!
//! Limits, prices and routes depend on what a request asks for: the model, whether the answer is streamed, how many
//! tokens it may have at most. That stands in the body, and a body can be read but once. [`InspectLayer`] reads it, puts
//! a [`Call`](crate::http::call::Call) with what it found into the request's extensions, and hands on the same bytes as
//! a [`CallBody`](crate::http::body::CallBody), neither parsed into a tree nor joined nor written anew.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use kancy::http::{body::CallBody, call::Call};
//! use kancy::inspect::InspectLayer;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let service = ServiceBuilder::new().layer(InspectLayer::new()).service_fn(|request: Request<CallBody>| async move {
//!     let model = request.extensions().get::<Call>().map(|call| call.model().to_owned());
//!     Ok::<_, std::convert::Infallible>(Response::new(Full::from(model.unwrap_or_default())))
//! });
//!
//! let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}"#;
//! let request = Request::post("/v1/chat/completions").body(Full::<Bytes>::from(body))?;
//! let answer = service.oneshot(request).await?.into_body().collect().await?;
//! assert_eq!(answer.to_bytes(), "gpt-4o");
//! # Ok(())
//! # }
//! ```
//!
//! # What is inspected
//! A POST to a path of [`Endpoint`](crate::domain::endpoint::Endpoint). Any other request is collected too (the inner
//! service takes one kind of body), but passes without a `Call`; keep routes that stream their requests, gRPC among
//! them, outside this layer. With a [catalog](InspectLayer::catalog) the model must be known to it, allowed to the
//! [`Caller`](crate::domain::caller::Caller) (where `AuthLayer` stands outside) and fit the route.
//!
//! # Order
//! Inside authentication, so that a stranger never costs the memory of a body. Inside metering, so that an unreadable
//! body is on record. Outside quota and route, which read the `Call`: a quota layer without one does
//! not know what the request may come to.
//!
//! # Failure
//! A refusal is a response, and the inner service is not called: 400 for a body that is too large (by its
//! `content-length` before a byte is read, else at the byte that breaks the bound), that broke off, or that is not what
//! the route takes; 400 or 401 for a model that is not known or not allowed. How long a body may take to arrive is up to
//! the server: set its read timeout.

mod accept;
mod collect;
mod future;
mod layer;
mod service;

pub use future::ResponseFuture;
pub use layer::InspectLayer;
pub use service::InspectService;
