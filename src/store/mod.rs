//! Where keys, counters and the ledger live: the traits, the suites that hold every implementation to them, and the backends.

#[cfg(any(test, feature = "testing"))]
pub mod contract;
pub mod error;
pub mod grant;
pub mod jobs;
pub mod keys;
pub mod ledger;
pub mod memory;
pub mod quota;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod tables;
pub mod webhooks;
