//! The quota layer: a request is admitted against every limit that applies to its caller, or refused.
//!
//! Whoever offers models to many callers owes them two promises: nobody spends more than allowed, and nobody is refused
//! what is allowed. Counting afterwards keeps neither, because requests run side by side. So this layer holds, before the
//! inner service is called, the most that a request can come to, of all limits at once or of none; and when the answer
//! ends, however it ends, it settles the hold to the truth. For every limit, posted and held together never exceed the
//! amount.
//!
//! ```
//! use std::sync::Arc;
//! use kancy::LimitBook;
//! use kancy::quota::QuotaLayer;
//! use kancy::store::memory::quota::MemoryQuota;
//! use tower_layer::Layer;
//!
//! let limits = Arc::new(LimitBook::default());
//! let layer = QuotaLayer::new(MemoryQuota::new(), limits);
//! # struct YourService;
//! let service = layer.layer(YourService);
//! # let _ = service;
//! ```
//!
//! # Order
//!
//! `AuthLayer` must stand outside: limits need a [`Caller`](crate::Caller), and a request without one is answered with
//! 500. `InspectLayer` outside makes tokens, spend and the other units known beforehand. Without it, on a route of your own,
//! what a handler [adds](crate::Meter::add) is posted at the end, and the hold is what [`QuotaLayer::at_most`] says. A video
//! job takes over the hold of one layer, which stands inside of `InspectLayer`; outside of that a layer counts its request alone. With `MeteringLayer` outside, a
//! refusal is on record.
//!
//! # What is governed
//!
//! Every method but GET, HEAD, OPTIONS, TRACE and DELETE, which take nothing. Under a token or spend limit the output
//! bound that the hold was reckoned with is written into the [`Call`](crate::http::call::Call), and the route sends it to
//! the vendor; what nothing bounds is refused with 400.
//!
//! # Failure
//!
//! A store that cannot be reached closes spend and total limits; the others go by their own `on_store_failure`, then by
//! [`QuotaLayer::on_store_failure`]. The layer has no timer: a store that may hang bounds its own calls.

mod body;
mod future;
mod hold;
mod layer;
mod refusal;
mod service;
#[cfg(test)]
mod tests;

pub use body::QuotaBody;
pub use future::QuotaFuture;
pub use layer::QuotaLayer;
pub use service::QuotaService;
