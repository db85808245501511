//! A decision on its way to whoever asked. If nobody is there any more, its grant is void: the request never ran.

use crate::store::quota::Decision;

/// Holds a [`Decision`] until it is claimed.
#[derive(Debug)]
pub(super) struct Unclaimed(Option<Decision>);

impl Unclaimed {
    pub(super) fn new(decision: Decision) -> Self {
        Self(Some(decision))
    }

    /// Takes the decision; `None` only if it was taken before.
    pub(super) fn claim(mut self) -> Option<Decision> {
        self.0.take()
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(Decision::Admitted { grant, .. }) = self.0.take() {
            grant.void();
        }
    }
}
