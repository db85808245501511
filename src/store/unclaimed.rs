//! A decision on its way to whoever asked. If nobody is there any more, its grant is void: the request never ran.
//!
//! A [`Grant`] that is dropped posts all that it holds, as the request that had it may have been
//! billed. A caller may leave while a store is still at work, though; then its future is dropped with the grant in it. A
//! store that waits for anything once it has placed a hold keeps its decision in here until it is given out.
//!
//! ```
//! use kancy::store::error::StoreResult;
//! use kancy::store::quota::Decision;
//! use kancy::store::unclaimed::Unclaimed;
//!
//! async fn told_elsewhere(decision: Decision) -> StoreResult<Decision> {
//!     let unclaimed = Unclaimed::new(decision);
//!     another_server().await; // the caller may leave here
//!     Ok(unclaimed.claim())
//! }
//! # async fn another_server() {}
//! # let _ = told_elsewhere;
//! ```

use crate::store::grant::Grant;
use crate::store::quota::Decision;

/// Holds a [`Decision`] until it is claimed.
#[derive(Debug)]
pub struct Unclaimed(Option<Decision>);

impl Unclaimed {
    /// Nobody has the decision yet.
    pub fn new(decision: Decision) -> Self {
        Self(Some(decision))
    }

    /// Whoever asked takes it.
    pub fn claim(mut self) -> Decision {
        self.0.take().unwrap_or_else(|| unreachable!("taken by value, once"))
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(Decision::Admitted { grant, .. }) = self.0.take() {
            Grant::void(grant);
        }
    }
}
