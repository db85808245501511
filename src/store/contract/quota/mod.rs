//! The contract of quota stores: what every [`QuotaStore`] must do.
//!
//! Each function is one promise, and panics where it is broken. It works in a workspace of its own and later than the one
//! before, so that all of them can run on one store, one after the other. Stores that take the time from each reservation
//! run [`all`]; stores with a clock of their own run [`timeless`].
//!
//! ```
//! # async fn run() {
//! use kancy::store::contract;
//! use kancy::store::memory::quota::MemoryQuota;
//!
//! contract::quota::all(&MemoryQuota::new()).await;
//! # }
//! ```

mod admission;
mod lasting;
mod stage;
mod windows;

use std::sync::Arc;

use crate::base::id::new_id;
use crate::domain::caller::{Caller, Home, ModelPatterns};
use crate::domain::modality::Modality;
use crate::domain::name::Name;
use crate::store::quota::QuotaStore;

pub use admission::*;
pub use lasting::*;
pub use windows::*;

/// The suite for stores that go by the time of each reservation.
pub async fn all(store: &dyn QuotaStore) {
    timeless(store).await;
    a_calendar_window_starts_anew_at_its_end(store).await;
    a_settlement_posts_to_the_window_of_its_admission(store).await;
    a_rate_tells_the_true_time_to_the_next_admit(store).await;
    giving_back_never_returns_what_has_refilled(store).await;
}

/// The part of the suite in which no time passes: for stores with a clock of their own.
pub async fn timeless(store: &dyn QuotaStore) {
    exactly_the_amount_is_admitted(store).await;
    a_refusal_consumes_nothing_of_any_limit(store).await;
    settling_posts_the_truth_and_releases_the_rest(store).await;
    a_void_grant_leaves_no_trace(store).await;
    a_dropped_grant_posts_all_that_it_holds(store).await;
    a_truth_above_the_hold_is_posted(store).await;
    concurrency_is_given_back_by_every_end(store).await;
    a_shadow_limit_counts_and_never_refuses(store).await;
    an_amount_of_zero_blocks_all(store).await;
    a_request_above_the_amount_can_never_fit(store).await;
    changing_the_amount_keeps_the_counter(store).await;
    a_new_limit_holds_what_was_admitted_before_it(store).await;
    the_hardest_refusal_is_told(store).await;
    a_lasting_hold_outlives_its_grant_and_is_settled_by_whoever_has_it(store).await;
    a_lasting_hold_is_settled_once(store).await;
    a_lasting_hold_that_is_kept_counts_once(store).await;
}

/// A caller in `workspace`, with a key of its own that may use everything.
///
/// # Panics
/// When the name is none.
pub fn caller(workspace: &str) -> Caller {
    let name = |text: &str| Name::new(text).expect("a name");
    let home = Home { workspace: name(workspace), project: name("site"), team: None, environment: None };
    Caller::new(new_id(""), None, home, ModelPatterns::all(), Arc::from(Modality::ALL.as_slice()))
}
