//! Webhooks: what happened is told to a workspace's own servers, signed, at least once.
//!
//! An event is written into the outbox together with the change that it tells of, one [`Delivery`](crate::domain::delivery::Delivery)
//! for each endpoint that wants it. [`Webhooks::drive`], a future that the host spawns, sends what is due until the
//! receiver takes it: after 0 s, 5 s, 5 min and so on up to a day, the same event id on every attempt. Several instances
//! may drive one outbox; leases share the work.
//!
//! ```
//! # #[cfg(feature = "client")] {
//! use std::sync::Arc;
//! use kancy::client::TokioHost;
//! use kancy::store::memory::{jobs::MemoryJobs, webhooks::MemoryEndpoints};
//! use kancy::webhook::Webhooks;
//! use kancy::HyperClient;
//!
//! let webhooks = Webhooks::new(HyperClient::new(), Arc::new(MemoryJobs::new()), Arc::new(MemoryEndpoints::new()), TokioHost);
//! let sending = webhooks.drive();
//! # let _ = sending;
//! # }
//! ```
//!
//! # What a receiver sees
//! The headers and the signature of Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature`. While an
//! endpoint has two secrets there are two signatures. It must answer 2xx within the time limit; 410 ends all deliveries
//! to it; redirects are not followed.
//!
//! # Where it may send to
//! An endpoint's URL is somebody else's word: it must be https on port 443 and lead to a public address, which is
//! checked when it is saved, before each attempt, and (by `HyperClient`) on the address that is dialled. An endpoint
//! that the operator allows private addresses for is exempt.

mod alerts;
mod announce;
mod sender;

pub use alerts::AnnouncedAlerts;
pub use sender::Webhooks;
