//! The host's word that it is going down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tells meters that the host is going down: a request that is dropped from then on was cut by us (`failed`), not left
/// by its caller (`client_closed`). Every clone is the same switch.
///
/// Close it when the grace period is over, just before the connections that are left are dropped.
#[derive(Clone, Debug, Default)]
pub struct Closing(Arc<AtomicBool>);

impl Closing {
    /// The host drops its connections now. There is no way back.
    pub fn close(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
