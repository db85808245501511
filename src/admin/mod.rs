//! The admin API (CONTRACT section 6), and what a calling key may read of its own project.
//!
//! Both are tower services over any request body, with no framework: mount [`AdminService`] at `/admin/v1` (with the
//! prefix or stripped of it by a nesting router), and [`UsageService`] behind `AuthLayer` at the paths that
//! [`UsageService::serves`]. Every failure is a response.
//!
//! ```
//! use std::sync::Arc;
//! use kancy::admin::{AdminService, AdminStores, UsageService};
//! use kancy::{Secret, SystemClock};
//!
//! fn operators(stores: AdminStores, token: Secret) -> (AdminService, UsageService) {
//!     let usage = UsageService::new(stores.usage.clone());
//!     (AdminService::new(token, stores, Arc::new(SystemClock::new())), usage)
//! }
//! ```
//!
//! * Whoever holds the admin token may do everything here; a wrong token is 401 before the path or the body is looked at.
//! * Unknown query parameters and body fields are refused: a misspelt filter must not show more than was asked for.
//! * A change is made first and audited second. Where the audit trail fails, the answer is 500 and says that the change was made.
//! * `PUT /limits` replaces the set of a scope as a whole. A bad limit leaves the old set; limits of the configuration
//!   stay, shown with `source: "config"`.

mod answer;
mod form;
mod keys;
mod limits;
mod query;
mod render;
mod reports;
mod routes;
mod service;
#[cfg(test)]
mod tests;
mod usage_service;
mod webhooks;

pub use answer::Reply;
pub use service::{AdminService, AdminStores, ReplyFuture};
pub use usage_service::UsageService;
