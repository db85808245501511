//! Alerts: a limit's posted use has crossed one of its thresholds.

use std::sync::Arc;

use crate::base::clock::Timestamp;

use super::limit::Limit;

/// Raised once for each limit, window and threshold.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields of CONTRACT section 6, in its words")]
pub struct Alert {
    pub id: Arc<str>,
    pub time: Timestamp,
    pub limit: Arc<Limit>,
    /// `None` for a total.
    pub window_start: Option<Timestamp>,
    /// In thousandths of the limit's amount.
    pub threshold: u32,
    /// Posted use at the crossing, in the measure's unit.
    pub used: u64,
}
