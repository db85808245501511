//! Keys. A record is kept as JSON beside the columns that listings ask for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio_postgres::{Row, Transaction};

use crate::base::clock::Timestamp;
use crate::base::store_future::StoreFuture;
use crate::domain::key::{KeyDigest, KeyId, KeyRecord, KeySource, OldDigest};
use crate::domain::name::Name;
use crate::store::error::{StoreError, StoreErrorKind, StoreResult};
use crate::store::kept::corrupt;
use crate::store::keys::{KeyAdmin, KeyCursor, KeyFilter, KeyStore};
use crate::store::tables::{Page, PageOf};

use super::{PostgresStore, Shared, failed, listen, patient, signed, unsigned};

type Found = StoreResult<Option<Arc<KeyRecord>>>;

impl KeyStore for PostgresStore {
    fn lookup(&self, id: &KeyId) -> StoreFuture<Found> {
        KeyAdmin::get(self, id)
    }

    fn epoch(&self) -> u64 {
        self.0.shared.key_epoch.load(Ordering::Acquire)
    }

    fn touch(&self, id: &KeyId, at: Timestamp) {
        self.0.touches.note(id, at);
    }
}

impl KeyAdmin for PostgresStore {
    fn insert(&self, record: KeyRecord) -> StoreFuture<StoreResult<Arc<KeyRecord>>> {
        self.change(record.id.clone(), move |known| match known {
            Some(known) if record.source == KeySource::Config => {
                Ok(KeyRecord { revoked_at: known.revoked_at.or(record.revoked_at), ..record })
            }
            Some(_) => Err(refused(format!("the key {} exists already", record.id))),
            None => Ok(record),
        })
    }

    fn get(&self, id: &KeyId) -> StoreFuture<Found> {
        let (shared, id) = (Arc::clone(&self.0.shared), id.clone());
        StoreFuture::new(patient(async move {
            let client = shared.client().await?;
            let find = "SELECT record, last_used_at FROM kancy_keys WHERE id = $1";
            let statement = client.prepare_cached(find).await.map_err(|e| failed(&e))?;
            let row = client.query_opt(&statement, &[&id.as_str()]).await.map_err(|e| failed(&e))?;
            row.map(|row| read(&row).map(Arc::new)).transpose()
        }))
    }

    fn list(&self, filter: KeyFilter, page: Page) -> StoreFuture<StoreResult<PageOf<Arc<KeyRecord>>>> {
        let shared = Arc::clone(&self.0.shared);
        StoreFuture::new(patient(async move { list(&shared, &filter, &page).await }))
    }

    fn rotate(
        &self,
        id: &KeyId,
        new: KeyDigest,
        old_until: Timestamp,
        now: Timestamp,
    ) -> StoreFuture<StoreResult<Arc<KeyRecord>>> {
        let unknown = not_found(id);
        self.change(id.clone(), move |known| {
            let mut record = known.ok_or(unknown)?;
            if record.source == KeySource::Config {
                return Err(refused("a key of the configuration is rotated by changing the configuration"));
            }
            if record.revoked_at.is_some() {
                return Err(refused("the key is revoked: make a new one"));
            }
            if record.expires_at.is_some_and(|end| now >= end) {
                return Err(refused("the key has expired: make a new one"));
            }
            record.old = Some(OldDigest { digest: record.digest, until: old_until });
            record.digest = new;
            Ok(record)
        })
    }

    fn revoke(&self, id: &KeyId, now: Timestamp) -> StoreFuture<StoreResult<Arc<KeyRecord>>> {
        let unknown = not_found(id);
        self.change(id.clone(), move |known| {
            let mut record = known.ok_or(unknown)?;
            record.revoked_at.get_or_insert(now);
            Ok(record)
        })
    }
}

impl PostgresStore {
    /// Puts what `next` makes of the key in its place, and tells every instance.
    fn change(
        &self,
        id: KeyId,
        next: impl FnOnce(Option<KeyRecord>) -> StoreResult<KeyRecord> + Send + 'static,
    ) -> StoreFuture<StoreResult<Arc<KeyRecord>>> {
        let shared = Arc::clone(&self.0.shared);
        StoreFuture::new(patient(async move {
            let changed = change(&shared, &id, next).await;
            // It may have been committed even where that could not be heard.
            shared.key_changed();
            changed.map(Arc::new)
        }))
    }
}

async fn change(
    shared: &Shared,
    id: &KeyId,
    next: impl FnOnce(Option<KeyRecord>) -> StoreResult<KeyRecord>,
) -> StoreResult<KeyRecord> {
    let mut client = shared.client().await?;
    let transaction = client.transaction().await.map_err(|e| failed(&e))?;
    // A row that is not there cannot be locked: its id is.
    transaction
        .execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", &[&id.as_str()])
        .await
        .map_err(|e| failed(&e))?;
    let find = "SELECT record, last_used_at FROM kancy_keys WHERE id = $1 FOR UPDATE";
    let known = transaction.query_opt(find, &[&id.as_str()]).await.map_err(|e| failed(&e))?;
    let record = next(known.map(|row| read(&row)).transpose()?)?;
    put(&transaction, &record).await.map_err(|e| failed(&e))?;
    transaction.commit().await.map_err(|e| failed(&e))?;
    Ok(record)
}

async fn put(transaction: &Transaction<'_>, record: &KeyRecord) -> Result<(), tokio_postgres::Error> {
    let kept = serde_json::to_string(&KeyRecord { last_used_at: None, ..record.clone() }).unwrap_or_default();
    let home = &record.home;
    transaction
        .execute(
            "INSERT INTO kancy_keys (id, workspace, project, created_at, record) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (id) DO UPDATE SET workspace = $2, project = $3, created_at = $4, record = $5",
            &[
                &record.id.as_str(),
                &home.workspace.as_str(),
                &home.project.as_str(),
                &signed(record.created_at.as_nanos()),
                &kept,
            ],
        )
        .await?;
    transaction.execute("SELECT pg_notify($1, $2)", &[&listen::KEYS, &record.id.as_str()]).await?;
    Ok(())
}

async fn list(shared: &Shared, filter: &KeyFilter, page: &Page) -> StoreResult<PageOf<Arc<KeyRecord>>> {
    let (before, id) = match page.after.as_deref().map(KeyCursor::parse).transpose()? {
        Some(cursor) => cursor.parts(),
        None => (Timestamp::from_nanos(u64::MAX), String::new()),
    };
    let client = shared.client().await?;
    let statement = client
        .prepare_cached(
            "SELECT record, last_used_at FROM kancy_keys WHERE (created_at, id COLLATE \"C\") < ($1, $2) \
             AND ($3::text IS NULL OR workspace = $3) AND ($4::text IS NULL OR project = $4) \
             ORDER BY created_at DESC, id COLLATE \"C\" DESC LIMIT $5",
        )
        .await
        .map_err(|e| failed(&e))?;
    let (workspace, project) = (filter.workspace.as_ref().map(Name::as_str), filter.project.as_ref().map(Name::as_str));
    let (before, most) = (signed(before.as_nanos()), signed(page.limit as u64).saturating_add(1));
    let rows = client.query(&statement, &[&before, &id, &workspace, &project, &most]).await.map_err(|e| failed(&e))?;
    let mut items = rows.iter().map(|row| read(row).map(Arc::new)).collect::<StoreResult<Vec<_>>>()?;
    let more = items.len() > page.limit;
    items.truncate(page.limit);
    let next = items.last().filter(|_| more).map(|record| KeyCursor::of(record).to_string());
    Ok(PageOf { items, next })
}

fn read(row: &Row) -> StoreResult<KeyRecord> {
    let mut record: KeyRecord = serde_json::from_str(row.get(0)).map_err(corrupt)?;
    record.last_used_at = row.get::<_, Option<i64>>(1).map(|n| Timestamp::from_nanos(unsigned(n)));
    Ok(record)
}

fn refused(why: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Refused, why)
}

fn not_found(id: &KeyId) -> StoreError {
    StoreError::new(StoreErrorKind::NotFound, format!("there is no key {id}"))
}
