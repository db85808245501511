//! Keys in memory.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::base::clock::Timestamp;
use crate::base::store_future::StoreFuture;
use crate::domain::key::{KeyDigest, KeyId, KeyRecord, KeySource};
use crate::store::error::{StoreError, StoreErrorKind, StoreResult};
use crate::store::keys::{KeyAdmin, KeyCursor, KeyFilter, KeyStore};
use crate::store::tables::{Page, PageOf};

/// Keys kept in this process: for tests, and for a host that brings its keys along at each start.
///
/// Every answer is ready at once, and a revocation is seen by the next request.
///
/// ```
/// use kancy::domain::{caller::Home, name::Name};
/// use kancy::{Clock, KeyAdmin, KeyRecord, MemoryKeys, MintedKey, SystemClock};
/// # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = MemoryKeys::new();
/// let home = Home { workspace: Name::new("acme")?, project: Name::new("site")?, team: None, environment: None };
/// let minted = MintedKey::new(None);
/// keys.insert(KeyRecord::new(minted.id, minted.digest, home, SystemClock::new().now())).await?;
/// println!("shown once: {}", minted.text.expose());
/// # Ok(()) }
/// ```
#[derive(Default)]
pub struct MemoryKeys {
    keys: DashMap<KeyId, Held>,
    epoch: AtomicU64,
}

/// A key, and when it was last used: that changes too often, and matters too little, to make a new record of it.
struct Held {
    record: Arc<KeyRecord>,
    last_used: AtomicU64,
}

impl Held {
    fn new(record: KeyRecord) -> Self {
        let last_used = record.last_used_at.unwrap_or_default().as_nanos();
        Self { record: Arc::new(record), last_used: AtomicU64::new(last_used) }
    }

    /// The record as administrators see it.
    fn shown(&self) -> Arc<KeyRecord> {
        match self.last_used.load(Ordering::Relaxed) {
            0 => Arc::clone(&self.record),
            nanos => {
                let last_used_at = Some(Timestamp::from_nanos(nanos));
                Arc::new(KeyRecord { last_used_at, ..KeyRecord::clone(&self.record) })
            }
        }
    }
}

impl MemoryKeys {
    /// A store without a key.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts what `next` makes of the record in its place. `None` leaves it as it is.
    fn change(
        &self,
        id: &KeyId,
        next: impl FnOnce(&KeyRecord) -> StoreResult<Option<KeyRecord>>,
    ) -> StoreResult<Arc<KeyRecord>> {
        let shown = {
            let mut held = self.keys.get_mut(id).ok_or_else(|| not_found(id))?;
            if let Some(record) = next(&held.record)? {
                held.record = Arc::new(record);
            }
            held.shown()
        };
        self.changed();
        Ok(shown)
    }

    fn put(&self, mut record: KeyRecord) -> StoreResult<Arc<KeyRecord>> {
        let shown = match self.keys.entry(record.id.clone()) {
            Entry::Vacant(place) => place.insert(Held::new(record)).shown(),
            Entry::Occupied(mut place) if record.source == KeySource::Config => {
                record.revoked_at = place.get().record.revoked_at.or(record.revoked_at);
                place.get_mut().record = Arc::new(record);
                place.get().shown()
            }
            Entry::Occupied(_) => return Err(refused(format!("the key {} exists already", record.id))),
        };
        self.changed();
        Ok(shown)
    }

    fn page(&self, filter: &KeyFilter, page: &Page) -> StoreResult<PageOf<Arc<KeyRecord>>> {
        let after = page.after.as_deref().map(KeyCursor::parse).transpose()?;
        let mut found: Vec<(KeyCursor, Arc<KeyRecord>)> = self
            .keys
            .iter()
            .filter(|held| matches(filter, &held.record))
            .map(|held| (KeyCursor::of(&held.record), held.shown()))
            .filter(|(cursor, _)| after.as_ref().is_none_or(|after| cursor < after))
            .collect();
        found.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
        let more = found.len() > page.limit;
        found.truncate(page.limit);
        let next = found.last().filter(|_| more).map(|(cursor, _)| cursor.to_string());
        Ok(PageOf { items: found.into_iter().map(|(_, record)| record).collect(), next })
    }

    fn changed(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }
}

fn matches(filter: &KeyFilter, record: &KeyRecord) -> bool {
    let KeyFilter { workspace, project } = filter;
    workspace.as_ref().is_none_or(|w| *w == record.home.workspace)
        && project.as_ref().is_none_or(|p| *p == record.home.project)
}

fn not_found(id: &KeyId) -> StoreError {
    StoreError::new(StoreErrorKind::NotFound, format!("there is no key {id}"))
}

fn refused(why: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Refused, why)
}

/// What `record` is after a rotation.
fn rotated(record: &KeyRecord, new: KeyDigest, old_until: Timestamp, now: Timestamp) -> StoreResult<KeyRecord> {
    if record.source == KeySource::Config {
        return Err(refused("a key of the configuration is rotated by changing the configuration"));
    }
    if record.revoked_at.is_some() {
        return Err(refused("the key is revoked: make a new one"));
    }
    if record.expires_at.is_some_and(|end| now >= end) {
        return Err(refused("the key has expired: make a new one"));
    }
    let mut record = record.clone();
    record.rotate(new, old_until);
    Ok(record)
}

impl KeyStore for MemoryKeys {
    fn lookup(&self, id: &KeyId) -> StoreFuture<StoreResult<Option<Arc<KeyRecord>>>> {
        StoreFuture::ready(Ok(self.keys.get(id).map(|held| Arc::clone(&held.record))))
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    fn touch(&self, id: &KeyId, at: Timestamp) {
        if let Some(held) = self.keys.get(id) {
            held.last_used.fetch_max(at.as_nanos(), Ordering::Relaxed);
        }
    }
}

impl KeyAdmin for MemoryKeys {
    fn insert(&self, record: KeyRecord) -> StoreFuture<StoreResult<Arc<KeyRecord>>> {
        StoreFuture::ready(self.put(record))
    }

    fn get(&self, id: &KeyId) -> StoreFuture<StoreResult<Option<Arc<KeyRecord>>>> {
        StoreFuture::ready(Ok(self.keys.get(id).map(|held| held.shown())))
    }

    fn list(&self, filter: KeyFilter, page: Page) -> StoreFuture<StoreResult<PageOf<Arc<KeyRecord>>>> {
        StoreFuture::ready(self.page(&filter, &page))
    }

    fn rotate(
        &self,
        id: &KeyId,
        new: KeyDigest,
        old_until: Timestamp,
        now: Timestamp,
    ) -> StoreFuture<StoreResult<Arc<KeyRecord>>> {
        StoreFuture::ready(self.change(id, |record| rotated(record, new, old_until, now).map(Some)))
    }

    fn revoke(&self, id: &KeyId, now: Timestamp) -> StoreFuture<StoreResult<Arc<KeyRecord>>> {
        StoreFuture::ready(self.change(id, |record| {
            let open = record.revoked_at.is_none();
            Ok(open.then(|| KeyRecord { revoked_at: Some(now), ..record.clone() }))
        }))
    }
}

impl fmt::Debug for MemoryKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryKeys").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::keys as contract;

    #[tokio::test]
    async fn memory_keys_keep_the_contract() {
        let keys = MemoryKeys::new();
        contract::run(&keys, &keys).await;
    }

    #[tokio::test]
    async fn so_do_they_behind_shared_trait_objects() {
        let keys = Arc::new(MemoryKeys::new());
        let store: Arc<dyn KeyStore> = Arc::clone(&keys) as _;
        let admin: Arc<dyn KeyAdmin> = keys;
        contract::run(&store, &admin).await;
    }

    #[tokio::test]
    async fn the_last_use_is_shown_and_neither_goes_back_nor_counts_as_a_change() {
        let keys = MemoryKeys::new();
        let record = contract::sample("acme", "site");
        let id = keys.insert(record).await.unwrap().id.clone();
        let epoch = keys.epoch();
        keys.touch(&id, Timestamp::from_secs(20));
        keys.touch(&id, Timestamp::from_secs(10));
        assert_eq!(keys.get(&id).await.unwrap().unwrap().last_used_at, Some(Timestamp::from_secs(20)));
        assert_eq!(keys.epoch(), epoch);
    }
}
