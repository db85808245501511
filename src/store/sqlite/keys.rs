//! Keys. A record is kept as JSON beside the columns that listings ask for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use crate::base::clock::Timestamp;
use crate::base::store_future::StoreFuture;
use crate::domain::key::{KeyDigest, KeyId, KeyRecord, KeySource};
use crate::domain::name::Name;
use crate::store::error::{StoreError, StoreErrorKind, StoreResult};
use crate::store::keys::{KeyAdmin, KeyCursor, KeyFilter, KeyStore};
use crate::store::tables::{Page, PageOf};

use super::columns::Json;
use super::{SqliteStore, failed, nanos, query};

type Found = StoreResult<Option<Arc<KeyRecord>>>;

impl KeyStore for SqliteStore {
    fn lookup(&self, id: &KeyId) -> StoreFuture<Found> {
        KeyAdmin::get(self, id)
    }

    fn epoch(&self) -> u64 {
        self.0.key_epoch.load(Ordering::Acquire)
    }

    fn touch(&self, id: &KeyId, at: Timestamp) {
        let (id, at) = (id.clone(), nanos(at));
        // Nobody waits for it.
        drop(self.0.writer.run(move |connection| {
            connection
                .prepare_cached("UPDATE keys SET last_used_at = ?2 WHERE id = ?1")
                .and_then(|mut s| s.execute(params![id.as_str(), at]))
                .map_err(|e| failed(&e))
        }));
    }
}

impl KeyAdmin for SqliteStore {
    fn insert(&self, record: KeyRecord) -> StoreFuture<StoreResult<Arc<KeyRecord>>> {
        self.change(move |connection| {
            let known = find(connection, &record.id)?;
            let mut record = record;
            match known {
                Some(known) if record.source == KeySource::Config => {
                    record.revoked_at = known.revoked_at;
                    record.last_used_at = known.last_used_at;
                    record.created_at = known.created_at;
                }
                Some(_) => return Err(refused("A key with this id exists already.")),
                None => {}
            }
            Ok(record)
        })
    }

    fn get(&self, id: &KeyId) -> StoreFuture<Found> {
        let id = id.clone();
        self.0.readers.run(move |connection| find(connection, &id))
    }

    fn list(&self, filter: KeyFilter, page: Page) -> StoreFuture<StoreResult<PageOf<Arc<KeyRecord>>>> {
        self.0.readers.run(move |connection| {
            let name = |n: &Option<Name>| n.as_ref().map(|n| n.as_str().to_owned());
            let after = page.after.as_deref().map(KeyCursor::parse).transpose()?;
            let values = named_params! {
                ":age": after.as_ref().map_or(i64::MAX, |cursor| nanos(cursor.created_at)),
                ":id": after.as_ref().map_or("", |cursor| cursor.id.as_str()),
                ":workspace": name(&filter.workspace),
                ":project": name(&filter.project),
                ":limit": i64::try_from(page.limit).unwrap_or(i64::MAX - 1) + 1,
            };
            let sql = "SELECT record, last_used_at FROM keys WHERE (created_at, id) < (:age, :id) \
                 AND (:workspace IS NULL OR workspace = :workspace) AND (:project IS NULL OR project = :project) \
                 ORDER BY created_at DESC, id DESC LIMIT :limit";
            let mut items: Vec<_> = query(connection, sql, values, read)?.into_iter().map(Arc::new).collect();
            let more = items.len() > page.limit;
            items.truncate(page.limit);
            let next = items.last().filter(|_| more).map(|record| KeyCursor::of(record).to_string());
            Ok(PageOf { items, next })
        })
    }

    fn rotate(
        &self,
        id: &KeyId,
        new: KeyDigest,
        old_until: Timestamp,
        now: Timestamp,
    ) -> StoreFuture<StoreResult<Arc<KeyRecord>>> {
        let id = id.clone();
        self.change(move |connection| {
            let mut record = KeyRecord::clone(&*known(connection, &id)?);
            if record.source == KeySource::Config {
                return Err(refused("This key stands in the configuration file: rotate it there."));
            }
            if record.revoked_at.is_some() {
                return Err(refused("This key is revoked: make a new one."));
            }
            if record.expires_at.is_some_and(|end| now >= end) {
                return Err(refused("This key has expired: make a new one."));
            }
            record.rotate(new, old_until);
            Ok(record)
        })
    }

    fn revoke(&self, id: &KeyId, now: Timestamp) -> StoreFuture<StoreResult<Arc<KeyRecord>>> {
        let id = id.clone();
        self.change(move |connection| {
            let mut record = KeyRecord::clone(&*known(connection, &id)?);
            record.revoked_at.get_or_insert(now);
            Ok(record)
        })
    }
}

impl SqliteStore {
    /// Writes what `make` makes of the present state, and tells caches that a key has changed.
    fn change(
        &self,
        make: impl FnOnce(&Connection) -> StoreResult<KeyRecord> + Send + 'static,
    ) -> StoreFuture<StoreResult<Arc<KeyRecord>>> {
        let store = self.clone();
        let written = self.0.writer.run(move |connection| {
            let record = make(connection)?;
            put(connection, &record).map_err(|e| failed(&e))?;
            Ok(Arc::new(record))
        });
        StoreFuture::new(async move {
            let record = written.await;
            store.0.key_epoch.fetch_add(1, Ordering::AcqRel);
            record
        })
    }
}

fn refused(message: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Refused, message)
}

fn put(connection: &Connection, record: &KeyRecord) -> rusqlite::Result<usize> {
    let kept = serde_json::to_string(&KeyRecord { last_used_at: None, ..record.clone() }).unwrap_or_default();
    let home = &record.home;
    connection
        .prepare_cached(
            "INSERT INTO keys (id, workspace, project, record, created_at) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (id) DO UPDATE SET workspace = ?2, project = ?3, record = ?4, created_at = ?5",
        )?
        .execute(params![
            record.id.as_str(),
            home.workspace.as_str(),
            home.project.as_str(),
            kept,
            nanos(record.created_at)
        ])
}

fn find(connection: &Connection, id: &KeyId) -> Found {
    connection
        .prepare_cached("SELECT record, last_used_at FROM keys WHERE id = ?1")
        .and_then(|mut s| s.query_row([id.as_str()], read).optional())
        .map(|record| record.map(Arc::new))
        .map_err(|e| failed(&e))
}

fn known(connection: &Connection, id: &KeyId) -> StoreResult<Arc<KeyRecord>> {
    find(connection, id)?.ok_or_else(|| StoreError::new(StoreErrorKind::NotFound, "There is no key with this id."))
}

fn read(row: &Row<'_>) -> rusqlite::Result<KeyRecord> {
    let Json(mut record) = row.get::<_, Json<KeyRecord>>(0)?;
    record.last_used_at = row.get::<_, Option<i64>>(1)?.map(|n| Timestamp::from_nanos(n.max(0) as u64));
    Ok(record)
}
