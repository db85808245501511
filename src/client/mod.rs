//! The HTTP client for vendors: pooled connections over HTTP/1.1 and HTTP/2, TLS by rustls, and the time limits that a
//! model's provider sets.
//!
//! Any `tower::Service<Request<CallBody>>` can stand in its place. This one follows no redirect and repeats no request
//! that a vendor may have seen. It needs a tokio runtime with its timers and I/O enabled.

mod body;
mod host;
mod resolver;
mod service;

pub use body::ClientBody;
pub use host::TokioHost;
pub use service::{ClientFuture, HyperClient};
