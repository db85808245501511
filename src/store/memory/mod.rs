//! The stores that keep everything in this process, and forget it with it.

pub mod alerts;
pub mod audit;
mod ended;
pub mod jobs;
mod kept;
pub mod keys;
pub mod ledger;
pub mod limits;
pub mod quota;
mod rollup;
mod slab;
pub mod webhooks;
