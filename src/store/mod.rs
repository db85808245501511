//! Where keys, counters and the ledger live: the traits, the suites that hold every implementation to them, and the backends.

#[cfg(any(test, feature = "testing"))]
pub mod contract;
mod counter;
pub mod error;
pub mod grant;
#[cfg(feature = "_tokio")]
pub mod guarded;
pub mod jobs;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod kept;
pub mod keys;
pub mod ledger;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod limit_name;
pub mod memory;
pub mod peppered;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod queue;
pub mod quota;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sql;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod tables;
#[cfg(any(feature = "postgres", feature = "redis"))]
pub mod unclaimed;
mod units;
mod varint;
pub mod webhooks;
