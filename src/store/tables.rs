//! Small tables beside keys and ledger: limits set by API, alerts, the audit trail. And how lists are paged.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::base::clock::Timestamp;
use crate::base::store_future::StoreFuture;
use crate::domain::alert::Alert;
use crate::domain::limit::{Limit, Scope};

use super::error::StoreResult;

/// Which part of a list is wanted, newest first.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "a cursor and a count")]
pub struct Page {
    /// The `next` of the page before; `None` starts with the newest.
    pub after: Option<String>,
    /// At most so many items.
    pub limit: usize,
}

/// The newest hundred.
impl Default for Page {
    fn default() -> Self {
        Self { after: None, limit: 100 }
    }
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "items and a cursor")]
pub struct PageOf<T> {
    pub items: Vec<T>,
    /// The cursor of the next page, URL-safe; `None` at the end.
    pub next: Option<String>,
}

impl<T> PageOf<T> {
    /// The same page of other items.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> PageOf<U> {
        PageOf { items: self.items.into_iter().map(f).collect(), next: self.next }
    }
}

/// Keeps the limits that the admin API sets (those of the configuration are never stored).
pub trait LimitStore: fmt::Debug + Send + Sync + 'static {
    /// All of them.
    fn all(&self) -> StoreFuture<StoreResult<Vec<Limit>>>;

    /// Replaces the whole set of a scope.
    fn put(&self, scope: Scope, limits: Vec<Limit>) -> StoreFuture<StoreResult<()>>;
}

/// Keeps alerts, each once.
pub trait AlertStore: fmt::Debug + Send + Sync + 'static {
    /// Keeps `alert` unless one of the same limit, window and threshold is there. Must not block; durable stores write behind.
    fn raise(&self, alert: Alert);

    /// Alerts, newest first.
    fn list(&self, page: Page) -> StoreFuture<StoreResult<PageOf<Alert>>>;
}

/// An administrative act.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the fields of CONTRACT section 6, in its words")]
pub struct AuditEntry {
    pub id: Arc<str>,
    pub time: Timestamp,
    pub actor: Arc<str>,
    /// `key.create`, `key.rotate`, …
    pub action: std::borrow::Cow<'static, str>,
    pub target: String,
    pub detail: serde_json::Value,
}

/// Keeps the audit trail.
pub trait AuditStore: fmt::Debug + Send + Sync + 'static {
    /// Adds an entry.
    fn append(&self, entry: AuditEntry) -> StoreFuture<StoreResult<()>>;

    /// Entries, newest first.
    fn list(&self, page: Page) -> StoreFuture<StoreResult<PageOf<AuditEntry>>>;
}
