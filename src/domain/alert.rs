//! Alerts: a limit's posted use has crossed one of its thresholds.

use std::sync::Arc;

use crate::base::clock::Timestamp;

use serde_json::{Value, json};

use super::limit::{Limit, Mode, Per};
use super::modality::Modality;

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

impl Alert {
    /// The alert as operators and webhooks are shown it.
    pub fn json(&self) -> Value {
        let key = &self.limit.key;
        json!({
            "id": &*self.id,
            "time": self.time.as_secs_millis(),
            "scope": key.scope.to_string(),
            "modality": key.modality.map(Modality::as_str),
            "model": key.model.as_deref(),
            "measure": key.measure.as_str(),
            "per": key.per.map(Per::as_str),
            "window_start": self.window_start.map(Timestamp::as_secs),
            "threshold": f64::from(self.threshold) / 1_000.0,
            "amount": key.measure.json(self.limit.amount),
            "used": key.measure.json(self.used),
            "mode": Mode::as_str(self.limit.mode),
        })
    }
}
