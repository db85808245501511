//! The contract suites: what every implementation of a store trait must do, as functions that any of them can be run through.

pub mod endpoints;
pub mod jobs;
pub mod keys;
pub mod ledger;
pub mod quota;
