//! Limits and alerts as JSON, for stores that keep text.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::domain::alert::Alert;
use crate::domain::limit::{Limit, LimitKey, LimitSource, Measure, Mode, OnStoreFailure, Per, Scope};
use crate::domain::modality::Modality;

use super::error::{StoreError, StoreErrorKind, StoreResult};

/// A limit as it is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptLimit {
    scope: String,
    modality: Option<Modality>,
    model: Option<Arc<str>>,
    measure: Measure,
    per: Option<Per>,
    amount: u64,
    mode: Mode,
    alert_at: Vec<u32>,
    on_store_failure: Option<OnStoreFailure>,
    source: LimitSource,
}

impl KeptLimit {
    pub(super) fn of(limit: &Limit) -> Self {
        let key = &limit.key;
        Self {
            scope: key.scope.to_string(),
            modality: key.modality,
            model: key.model.clone(),
            measure: key.measure,
            per: key.per,
            amount: limit.amount,
            mode: limit.mode,
            alert_at: limit.alert_at.clone(),
            on_store_failure: limit.on_store_failure,
            source: limit.source,
        }
    }

    pub(super) fn limit(self) -> StoreResult<Limit> {
        let scope = self.scope.parse::<Scope>().map_err(corrupt)?;
        let key = LimitKey { scope, modality: self.modality, model: self.model, measure: self.measure, per: self.per };
        Ok(Limit {
            key,
            amount: self.amount,
            mode: self.mode,
            alert_at: self.alert_at,
            on_store_failure: self.on_store_failure,
            source: self.source,
        })
    }
}

/// An alert as it is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptAlert {
    id: Arc<str>,
    time: Timestamp,
    limit: KeptLimit,
    window_start: Option<Timestamp>,
    threshold: u32,
    used: u64,
}

impl KeptAlert {
    pub(super) fn of(alert: &Alert) -> Self {
        Self {
            id: Arc::clone(&alert.id),
            time: alert.time,
            limit: KeptLimit::of(&alert.limit),
            window_start: alert.window_start,
            threshold: alert.threshold,
            used: alert.used,
        }
    }

    pub(super) fn alert(self) -> StoreResult<Alert> {
        Ok(Alert {
            id: self.id,
            time: self.time,
            limit: Arc::new(self.limit.limit()?),
            window_start: self.window_start,
            threshold: self.threshold,
            used: self.used,
        })
    }
}

/// The limit's name, in one line: what tells it from others, and where it was set (a limit of the configuration and one
/// set by API may have the same key; each counts for itself).
pub(super) fn limit_name(limit: &Limit) -> String {
    let LimitKey { scope, modality, model, measure, per } = &limit.key;
    let modality = modality.map_or("*", Modality::as_str);
    let per = per.map_or("-", Per::as_str);
    let source = match limit.source {
        LimitSource::Config => "config",
        LimitSource::Api => "api",
    };
    // The model stands last: it alone may hold any character; PostgreSQL takes all but NUL.
    let model = model.as_deref().unwrap_or_default().replace('\0', "\u{fffd}");
    format!("{scope} {modality} {} {per} {source} {model}", measure.as_str())
}

pub(super) fn corrupt(why: impl std::fmt::Display) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, format!("what is stored cannot be read: {why}"))
}
