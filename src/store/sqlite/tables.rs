//! The small tables: limits set by API, alerts, the audit trail.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::store_future::StoreFuture;
use crate::domain::alert::Alert;
use crate::domain::limit::{Limit, LimitKey, LimitSource, Measure, Mode, OnStoreFailure, Per, Scope};
use crate::domain::modality::Modality;
use crate::store::error::{StoreError, StoreErrorKind, StoreResult};
use crate::store::tables::{AlertStore, AuditEntry, AuditStore, LimitStore, Page, PageOf};

use super::columns::{Json, Word};
use super::{SqliteStore, failed};

/// The row number before which a page starts.
pub(super) fn before(page: &Page) -> StoreResult<Option<i64>> {
    let wrong = |_| StoreError::new(StoreErrorKind::Refused, "The cursor `after` is none that was given out.");
    page.after.as_deref().map(str::parse).transpose().map_err(wrong)
}

/// A page of rows, of which one more was read than is shown.
pub(super) fn page_of<T>(mut rows: Vec<(T, i64)>, limit: usize) -> PageOf<T> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|(_, seq)| seq.to_string());
    PageOf { items: rows.into_iter().map(|(item, _)| item).collect(), next }
}

/// A limit as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
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

impl Kept {
    fn of(limit: &Limit) -> Self {
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

    fn limit(self) -> StoreResult<Limit> {
        let scope = self.scope.parse::<Scope>().map_err(|e| StoreError::new(StoreErrorKind::Corrupt, e))?;
        let key =
            LimitKey { scope, modality: self.modality, model: self.model, measure: self.measure, per: self.per };
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
