//! What every floor stands on: errors, money, ids, time, secrets and the future that stores return.

pub mod address;
pub mod clock;
pub(crate) mod crc32;
pub mod error;
pub(crate) mod hash;
pub mod host;
pub mod id;
pub(crate) mod log;
pub mod money;
pub mod secret;
pub mod short_id;
pub mod store_future;
