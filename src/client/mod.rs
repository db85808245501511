//! The HTTP client for vendors: pooled connections over HTTP/1.1 and HTTP/2, TLS by rustls, and the time limits that a
//! model's provider sets.
//!
//! Any `tower::Service<Request<CallBody>>` can stand in its place. This one follows no redirect and repeats no request
//! that a vendor may have seen. It needs a tokio runtime with its timers and I/O enabled.
//!
//! A request that bears a [`Fetch`](crate::http::fetch::Fetch) goes to an address that a vendor's answer named. It is
//! dialled only where that is on the public internet, or the operator named the host; a client of your own must see to
//! the same.

mod body;
mod exchange;
mod guard;
mod host;
mod pool;
mod service;
mod silence;
#[cfg(test)]
mod tests;

use std::error::Error;

pub use body::ClientBody;
pub use guard::PrivateAddress;
pub use host::TokioHost;
pub use service::{ClientFuture, HyperClient};

type BoxError = Box<dyn Error + Send + Sync>;
