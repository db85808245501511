//! The audit trail in memory.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::base::store_future::StoreFuture;
use crate::store::error::{StoreError, StoreErrorKind, StoreResult};
use crate::store::tables::{AuditEntry, AuditStore, Page, PageOf};

/// Keeps the newest entries of the audit trail, by default 10,000, and forgets them with the process.
#[derive(Debug)]
pub struct MemoryAudit {
    trail: Mutex<Trail>,
    keep: usize,
}

#[derive(Debug, Default)]
struct Trail {
    /// Oldest first.
    entries: VecDeque<AuditEntry>,
    /// How many have fallen out: the number of the oldest that is there.
    dropped: u64,
}

impl MemoryAudit {
    /// An empty trail.
    pub fn new() -> Self {
        Self { trail: Mutex::default(), keep: 10_000 }
    }

    /// Keeps so many entries.
    #[must_use]
    pub fn keep(mut self, entries: usize) -> Self {
        self.keep = entries;
        self
    }
}

impl Default for MemoryAudit {
    fn default() -> Self {
        Self::new()
    }
}

impl Trail {
    /// Newest first, from before the entry with the number `before`. A cursor is the number of a page's last entry.
    fn page(&self, before: u64, limit: usize) -> PageOf<AuditEntry> {
        let end = before.saturating_sub(self.dropped).min(self.entries.len() as u64) as usize;
        let start = end.saturating_sub(limit);
        let items = self.entries.range(start..end).rev().cloned().collect();
        let next = (0 < start && start < end).then(|| (self.dropped + start as u64).to_string());
        PageOf { items, next }
    }
}

impl AuditStore for MemoryAudit {
    fn append(&self, entry: AuditEntry) -> StoreFuture<StoreResult<()>> {
        let mut trail = self.trail.lock().unwrap_or_else(PoisonError::into_inner);
        trail.entries.push_back(entry);
        while trail.entries.len() > self.keep {
            trail.entries.pop_front();
            trail.dropped += 1;
        }
        StoreFuture::ready(Ok(()))
    }

    fn list(&self, page: Page) -> StoreFuture<StoreResult<PageOf<AuditEntry>>> {
        let unknown = "This cursor is not known: use the `next` of the page before.";
        let before = page.after.map_or(Ok(u64::MAX), |after| after.parse());
        StoreFuture::ready(match before {
            Ok(before) => Ok(self.trail.lock().unwrap_or_else(PoisonError::into_inner).page(before, page.limit)),
            Err(_) => Err(StoreError::new(StoreErrorKind::Refused, unknown)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;

    fn entry(n: u64) -> AuditEntry {
        AuditEntry {
            id: n.to_string().into(),
            time: Timestamp::from_secs(n),
            actor: "admin".into(),
            action: "key.create".into(),
            target: String::new(),
            detail: serde_json::Value::Null,
        }
    }

    #[tokio::test]
    async fn pages_are_newest_first_and_survive_new_entries_and_lost_ones() {
        let audit = MemoryAudit::new().keep(5);
        for n in 0..5 {
            audit.append(entry(n)).await.unwrap();
        }
        let ids = |page: &PageOf<AuditEntry>| page.items.iter().map(|e| e.time.as_secs()).collect::<Vec<_>>();
        let first = audit.list(Page { after: None, limit: 2 }).await.unwrap();
        assert_eq!(ids(&first), [4, 3]);
        audit.append(entry(5)).await.unwrap();
        let second = audit.list(Page { after: first.next, limit: 10 }).await.unwrap();
        assert_eq!((ids(&second), second.next), (vec![2, 1], None), "0 has fallen out");
        assert!(audit.list(Page { after: Some("x".into()), limit: 1 }).await.is_err());
    }
}
