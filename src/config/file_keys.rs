//! The keys of the file, in a store that outlives it: one that the file has dropped opens nothing any more.
//!
//! The store still has it, with its revocation, in case the file names it again. So the file that this process has read
//! decides, not the store: other processes may have been started with another one.

use std::collections::HashSet;
use std::sync::Arc;

use crate::base::clock::Timestamp;
use crate::base::store_future::StoreFuture;
use crate::domain::key::{KeyDigest, KeyId, KeyRecord, KeySource};
use crate::store::error::StoreResult;
use crate::store::keys::{KeyAdmin, KeyFilter, KeyStore};
use crate::store::tables::{Page, PageOf};

/// The ids that the file names.
#[derive(Debug)]
struct Named(HashSet<KeyId>);

impl Named {
    fn stands(&self, record: &KeyRecord) -> bool {
        record.source != KeySource::Config || self.0.contains(&record.id)
    }
}

/// A store of keys as a process sees it that has read a certain file.
#[derive(Debug)]
pub(super) struct FileKeys<S: ?Sized> {
    named: Arc<Named>,
    store: Arc<S>,
}

impl<S: ?Sized> FileKeys<S> {
    pub(super) fn new(keys: &[KeyRecord], store: Arc<S>) -> Self {
        Self { named: Arc::new(Named(keys.iter().map(|key| key.id.clone()).collect())), store }
    }

    /// What a look-up found, if it stands.
    fn standing(&self, found: StoreFuture<StoreResult<Found>>) -> StoreFuture<StoreResult<Found>> {
        let named = Arc::clone(&self.named);
        let sift = move |found: StoreResult<Found>| found.map(|key| key.filter(|key| named.stands(key)));
        match found.now() {
            Ok(found) => StoreFuture::ready(sift(found)),
            Err(finding) => StoreFuture::new(async move { sift(finding.await) }),
        }
    }
}

type Found = Option<Arc<KeyRecord>>;

impl KeyStore for FileKeys<dyn KeyStore> {
    fn lookup(&self, id: &KeyId) -> StoreFuture<StoreResult<Found>> {
        self.standing(self.store.lookup(id))
    }

    fn epoch(&self) -> u64 {
        self.store.epoch()
    }

    fn touch(&self, id: &KeyId, at: Timestamp) {
        self.store.touch(id, at);
    }
}

impl KeyAdmin for FileKeys<dyn KeyAdmin> {
    fn insert(&self, record: KeyRecord) -> StoreFuture<StoreResult<Arc<KeyRecord>>> {
        self.store.insert(record)
    }

    fn get(&self, id: &KeyId) -> StoreFuture<StoreResult<Found>> {
        self.standing(self.store.get(id))
    }

    /// A page may hold less than was asked for.
    fn list(&self, filter: KeyFilter, page: Page) -> StoreFuture<StoreResult<PageOf<Arc<KeyRecord>>>> {
        let (named, listing) = (Arc::clone(&self.named), self.store.list(filter, page));
        StoreFuture::new(async move {
            let mut page = listing.await?;
            page.items.retain(|key| named.stands(key));
            Ok(page)
        })
    }

    fn rotate(
        &self,
        id: &KeyId,
        new: KeyDigest,
        old_until: Timestamp,
        now: Timestamp,
    ) -> StoreFuture<StoreResult<Arc<KeyRecord>>> {
        self.store.rotate(id, new, old_until, now)
    }

    fn revoke(&self, id: &KeyId, now: Timestamp) -> StoreFuture<StoreResult<Arc<KeyRecord>>> {
        self.store.revoke(id, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key::NewKey;
    use crate::store::memory::keys::MemoryKeys;

    #[tokio::test]
    async fn a_key_that_the_file_has_dropped_opens_nothing_and_one_of_the_api_stays() {
        let store = Arc::new(MemoryKeys::new());
        let mut made = Vec::new();
        for source in [KeySource::Config, KeySource::Config, KeySource::Api] {
            let (_, record) = NewKey::new("acme", "site").unwrap().mint(Timestamp::from_secs(1));
            store.insert(KeyRecord { source, ..record.clone() }).await.unwrap();
            made.push(KeyRecord { source, ..record });
        }
        let file = &made[..1];
        let keys = FileKeys::<dyn KeyStore>::new(file, store.clone());
        let admin = FileKeys::<dyn KeyAdmin>::new(file, store);
        for (record, stands) in made.iter().zip([true, false, true]) {
            assert_eq!(keys.lookup(&record.id).await.unwrap().is_some(), stands);
            assert_eq!(admin.get(&record.id).await.unwrap().is_some(), stands);
        }
        let page = Page { after: None, limit: 10 };
        assert_eq!(admin.list(KeyFilter::default(), page).await.unwrap().items.len(), 2);
    }
}
