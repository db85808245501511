//! The usual stack, assembled: Auth → Metering → Inspect → Quota → Route, and the reads beside it.
//!
//! There is nothing in here that could not be stacked by hand with `tower::ServiceBuilder`.
//!
//! ```
//! # #[cfg(feature = "client")] {
//! use std::sync::Arc;
//! use kancy::{Gateway, HyperClient, MemoryKeys, MemoryLedger, Registry};
//!
//! let gateway = Gateway::builder(Registry::offline(), HyperClient::new())
//!     .keys(MemoryKeys::new())
//!     .ledger(Arc::new(MemoryLedger::new()))
//!     .build();
//! # let _ = gateway;
//! # }
//! ```
//!
//! Why this order: an unauthenticated request never costs a body; a refused or unreadable one is on record, because
//! metering stands outside of inspect and quota; quota needs what inspect finds out. In any other order answers are booked as well,
//! but quota outside of inspect cannot hold what it does not know yet, and metering inside of quota would lose the refusals.
//!
//! [`Gateway`] is a `tower::Service` for requests of any body, never fails (`Error = Infallible`), and serves paths with
//! and without `/v1`, so that a router may nest it. Authentication comes first: without a good key even an unknown path
//! is 401.

mod api;
mod builder;
mod fork;
mod service;

pub use api::{ApiBody, ApiFuture};
pub use builder::GatewayBuilder;
pub use service::{Gateway, GatewayBody, GatewayFuture};
