//! Metering: exactly one usage record for every model request.
//!
//! A request can end in many ways: answered, refused, failed at the vendor, cut by the host's shutdown, left by its
//! caller before the head or in the middle of a stream, lost in a panic. Whatever loses a record loses money, and
//! whatever writes it twice bills twice. [`MeteringLayer`] owns a guard that travels with the response future and then
//! with the response body, and hands one [`UsageRecord`](crate::UsageRecord) to its [`UsageSink`] whichever way it goes.
//!
//! ```
//! use std::convert::Infallible;
//! use std::sync::Arc;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use kancy::{MemoryLedger, Meter, MeteringLayer, Usage};
//! use tower::{ServiceBuilder, service_fn};
//!
//! let ledger = Arc::new(MemoryLedger::new());
//! let metered = ServiceBuilder::new().layer(MeteringLayer::new(Arc::clone(&ledger))).service(service_fn(
//!     |request: Request<Full<Bytes>>| async move {
//!         // A handler of your own adds what it used; with `ProviderRouteService` the vendor's report is booked.
//!         if let Some(meter) = request.extensions().get::<Meter>() {
//!             meter.add(Usage { images: 1, ..Usage::NONE });
//!         }
//!         Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"done"))))
//!     },
//! ));
//! # let _ = metered;
//! ```
//!
//! # Order
//! Inside the auth layer: only a request with a [`Caller`](crate::Caller) is metered; of the first one without the log is
//! told, with the feature `tracing`. Outside the inspect and quota layers: what they refuse is on record, too; the other
//! way round refusals leave no trace. What is answered is on record at its cost in any order. Used twice in a stack, the
//! outer one records.
//!
//! A time limit of the host's own inside of this layer leaves a record of what it answered, `failed`, at an estimate once
//! the vendor was called; outside of it, the caller is taken for gone.
//!
//! # Calls of a handler's own
//! A meter follows one model call, the first; another one on it is answered with 500 before it costs anything. A handler
//! that calls models in its caller's name gives each call a record of its own: it passes on the
//! [`Caller`](crate::Caller) and leaves the [`Meter`](crate::Meter) out, to a stack that has a `MeteringLayer`, as
//! [`Gateway`](crate::Gateway) has, and an auth layer that lets
//! [known callers pass](crate::AuthLayer::pass_known_callers). A layer that tries again stands outside of metering.
//!
//! # Failure
//! The layer adds no error and no wait of its own but one: where the sink is durable, the last frame of an answer (or
//! the head of an answer without a body) is held back until its record is committed. A sink that fails does not take the
//! answer from the caller. A sink that cannot [`open`](crate::store::ledger::UsageSink::open) a record keeps the request from its vendor:
//! `ProviderRouteService` answers 500 `ledger_unavailable`.
//!
//! [`UsageSink`]: crate::store::ledger::UsageSink

mod body;
mod finish;
mod future;
mod layer;
mod service;

#[cfg(test)]
mod tests;

pub use body::MeteringBody;
pub use future::ResponseFuture;
pub use layer::MeteringLayer;
pub use service::MeteringService;

pub use crate::http::closing::Closing;
