//! The limits that the admin API sets, in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::base::store_future::StoreFuture;
use crate::domain::limit::{Limit, Scope};
use crate::store::error::StoreResult;
use crate::store::tables::LimitStore;

/// Keeps the limits set by API, and forgets them with the process.
#[derive(Debug, Default)]
pub struct MemoryLimits {
    scopes: Mutex<BTreeMap<Scope, Vec<Limit>>>,
}

impl MemoryLimits {
    /// No limits.
    pub fn new() -> Self {
        Self::default()
    }
}

impl LimitStore for MemoryLimits {
    fn all(&self) -> StoreFuture<StoreResult<Vec<Limit>>> {
        let scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        StoreFuture::ready(Ok(scopes.values().flatten().cloned().collect()))
    }

    fn put(&self, scope: Scope, limits: Vec<Limit>) -> StoreFuture<StoreResult<()>> {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if limits.is_empty() {
            scopes.remove(&scope);
        } else {
            scopes.insert(scope, limits);
        }
        StoreFuture::ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::limit::{LimitKey, Measure, Per};

    #[tokio::test]
    async fn putting_replaces_the_whole_set_of_a_scope_and_no_other() {
        let limit = |scope: &str, per| {
            let scope = scope.parse().unwrap();
            Limit::new(LimitKey { scope, modality: None, model: None, measure: Measure::Requests, per: Some(per) }, 1)
        };
        let store = MemoryLimits::new();
        let (acme, beta) = (limit("workspace:acme", Per::Day), limit("workspace:beta", Per::Day));
        let scope = |limit: &Limit| limit.key.scope.clone();
        store.put(scope(&acme), vec![acme.clone(), limit("workspace:acme", Per::Month)]).await.unwrap();
        store.put(scope(&beta), vec![beta.clone()]).await.unwrap();
        store.put(scope(&acme), vec![acme.clone()]).await.unwrap();
        assert_eq!(store.all().await.unwrap(), [acme.clone(), beta.clone()]);
        store.put(scope(&acme), vec![]).await.unwrap();
        assert_eq!(store.all().await.unwrap(), [beta]);
    }
}
