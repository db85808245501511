//! Stores of keys: looking one up on the hot path, and administering them beside it.

use std::fmt;
use std::sync::Arc;

use crate::base::clock::Timestamp;
use crate::base::store_future::StoreFuture;
use crate::domain::key::{KeyDigest, KeyId, KeyRecord};
use crate::domain::name::Name;

use super::error::{StoreError, StoreErrorKind, StoreResult};
use super::tables::{Page, PageOf};

/// Looks keys up. All that authentication needs.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a store of keys",
    note = "use `MemoryKeys`, or implement `KeyStore` and run `contract::keys` on it"
)]
pub trait KeyStore: fmt::Debug + Send + Sync + 'static {
    /// The key with this id, whatever its state; `None` when there never was one.
    fn lookup(&self, id: &KeyId) -> StoreFuture<StoreResult<Option<Arc<KeyRecord>>>>;

    /// A number that grows whenever a key may have changed, as soon as this process can tell. What was looked up under
    /// an older number must be looked up again, so it must grow after `lookup` shows the change, not before.
    fn epoch(&self) -> u64;

    /// Notes that the key was used. Must not block; may be lossy and coarse.
    fn touch(&self, id: &KeyId, at: Timestamp);
}

/// Which keys a listing shows.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs, reason = "the filters of CONTRACT section 6")]
pub struct KeyFilter {
    pub workspace: Option<Name>,
    pub project: Option<Name>,
}

/// Where a page of keys ends: the cursor of a listing, newest first, that stays in place while keys come.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyCursor {
    pub(crate) created_at: Timestamp,
    pub(crate) id: KeyId,
}

impl KeyCursor {
    pub(crate) fn of(record: &KeyRecord) -> Self {
        Self { created_at: record.created_at, id: record.id.clone() }
    }

    /// When the page's last key was made, and its id.
    #[cfg(feature = "postgres")]
    pub(crate) fn parts(self) -> (Timestamp, String) {
        (self.created_at, self.id.to_string())
    }

    /// Reads what [`Display`](fmt::Display) wrote.
    pub(crate) fn parse(text: &str) -> StoreResult<Self> {
        let read = text.split_once('-').and_then(|(nanos, id)| {
            Some(Self { created_at: Timestamp::from_nanos(nanos.parse().ok()?), id: KeyId::new(id)? })
        });
        read.ok_or_else(|| {
            StoreError::new(StoreErrorKind::Refused, "the cursor is none of this list: take `next` of the page before")
        })
    }
}

impl fmt::Display for KeyCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.created_at.as_nanos(), self.id)
    }
}

/// Administers keys.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot administer keys",
    note = "use `MemoryKeys`, or implement `KeyAdmin` and run `contract::keys` on it"
)]
pub trait KeyAdmin: fmt::Debug + Send + Sync + 'static {
    /// Adds a key. A record with [`KeySource::Config`](crate::domain::key::KeySource) replaces what the id had, but keeps its revocation; any other known id is refused.
    fn insert(&self, record: KeyRecord) -> StoreFuture<StoreResult<Arc<KeyRecord>>>;

    /// The key with this id.
    fn get(&self, id: &KeyId) -> StoreFuture<StoreResult<Option<Arc<KeyRecord>>>>;

    /// Keys, newest first.
    fn list(&self, filter: KeyFilter, page: Page) -> StoreFuture<StoreResult<PageOf<Arc<KeyRecord>>>>;

    /// Puts `new` in the place of the key's digest; the present one opens it until `old_until`, one older is gone at once.
    /// Refused for keys of the configuration, revoked and expired ones.
    fn rotate(
        &self,
        id: &KeyId,
        new: KeyDigest,
        old_until: Timestamp,
        now: Timestamp,
    ) -> StoreFuture<StoreResult<Arc<KeyRecord>>>;

    /// Revokes the key for good; a second time changes nothing.
    fn revoke(&self, id: &KeyId, now: Timestamp) -> StoreFuture<StoreResult<Arc<KeyRecord>>>;
}

impl<T: KeyStore + ?Sized> KeyStore for Arc<T> {
    fn lookup(&self, id: &KeyId) -> StoreFuture<StoreResult<Option<Arc<KeyRecord>>>> {
        (**self).lookup(id)
    }

    fn epoch(&self) -> u64 {
        (**self).epoch()
    }

    fn touch(&self, id: &KeyId, at: Timestamp) {
        (**self).touch(id, at);
    }
}

impl<T: KeyAdmin + ?Sized> KeyAdmin for Arc<T> {
    fn insert(&self, record: KeyRecord) -> StoreFuture<StoreResult<Arc<KeyRecord>>> {
        (**self).insert(record)
    }

    fn get(&self, id: &KeyId) -> StoreFuture<StoreResult<Option<Arc<KeyRecord>>>> {
        (**self).get(id)
    }

    fn list(&self, filter: KeyFilter, page: Page) -> StoreFuture<StoreResult<PageOf<Arc<KeyRecord>>>> {
        (**self).list(filter, page)
    }

    fn rotate(
        &self,
        id: &KeyId,
        new: KeyDigest,
        old_until: Timestamp,
        now: Timestamp,
    ) -> StoreFuture<StoreResult<Arc<KeyRecord>>> {
        (**self).rotate(id, new, old_until, now)
    }

    fn revoke(&self, id: &KeyId, now: Timestamp) -> StoreFuture<StoreResult<Arc<KeyRecord>>> {
        (**self).revoke(id, now)
    }
}
