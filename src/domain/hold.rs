//! A hold that outlives its request: what a job keeps of the limits until it ends.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;

use super::caller::Home;
use super::limit::Amounts;
use super::modality::Modality;

/// All that it takes to settle a hold, or to place it again, by whichever instance and after a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "whose it is, of what, and how much")]
pub struct LastingHold {
    /// Unique among all stores.
    pub id: Arc<str>,
    pub home: Home,
    pub key_id: Arc<str>,
    pub modality: Option<Modality>,
    pub model: Option<Arc<str>>,
    pub amounts: Amounts,
    /// Admission, by the quota store's clock: the windows that it counts in.
    pub at: Timestamp,
}
