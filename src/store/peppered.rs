//! A store of keys that is given peppered digests alone.

use std::sync::Arc;

use crate::base::clock::Timestamp;
use crate::base::store_future::StoreFuture;
use crate::domain::key::{KeyDigest, KeyId, KeyRecord, OldDigest};
use crate::domain::pepper::Pepper;

use super::error::StoreResult;
use super::keys::{KeyAdmin, KeyFilter};
use super::tables::{Page, PageOf};

/// Makes keys in `S` so that they open nothing without the pepper. The auth layer must be given the same one.
///
/// ```
/// use std::sync::Arc;
/// use kancy::store::peppered::PepperedKeys;
/// use kancy::{AuthLayer, MemoryKeys, Pepper};
///
/// let pepper = Pepper::new("from a safe place, at random")?;
/// let keys = Arc::new(MemoryKeys::new());
/// let admin = PepperedKeys::new(Arc::clone(&keys), pepper.clone());
/// let auth = AuthLayer::new(keys).pepper(pepper);
/// # let _ = (admin, auth);
/// # Ok::<(), String>(())
/// ```
#[derive(Debug)]
pub struct PepperedKeys<S> {
    keys: S,
    pepper: Pepper,
}

impl<S> PepperedKeys<S> {
    /// Keys in `keys`, under `pepper`.
    pub fn new(keys: S, pepper: Pepper) -> Self {
        Self { keys, pepper }
    }
}

impl<S: KeyAdmin> KeyAdmin for PepperedKeys<S> {
    fn insert(&self, record: KeyRecord) -> StoreFuture<StoreResult<Arc<KeyRecord>>> {
        let of = |digest: &KeyDigest| self.pepper.of(digest);
        self.keys.insert(KeyRecord {
            digest: of(&record.digest),
            old: record.old.map(|old| OldDigest { digest: of(&old.digest), ..old }),
            retired: record.retired.iter().map(of).collect(),
            ..record
        })
    }

    fn get(&self, id: &KeyId) -> StoreFuture<StoreResult<Option<Arc<KeyRecord>>>> {
        self.keys.get(id)
    }

    fn list(&self, filter: KeyFilter, page: Page) -> StoreFuture<StoreResult<PageOf<Arc<KeyRecord>>>> {
        self.keys.list(filter, page)
    }

    fn rotate(
        &self,
        id: &KeyId,
        new: KeyDigest,
        old_until: Timestamp,
        now: Timestamp,
    ) -> StoreFuture<StoreResult<Arc<KeyRecord>>> {
        self.keys.rotate(id, self.pepper.of(&new), old_until, now)
    }

    fn revoke(&self, id: &KeyId, now: Timestamp) -> StoreFuture<StoreResult<Arc<KeyRecord>>> {
        self.keys.revoke(id, now)
    }
}
