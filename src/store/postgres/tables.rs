//! The small tables: limits set by API, alerts, the audit trail.

use std::sync::Arc;

use tokio_postgres::Row;

use crate::base::clock::Timestamp;
use crate::base::store_future::StoreFuture;
use crate::domain::alert::Alert;
use crate::domain::limit::{Limit, Scope};
use crate::store::error::{StoreError, StoreErrorKind, StoreResult};
use crate::store::kept::{KeptAlert, KeptLimit};
use crate::store::limit_name::limit_name;
use crate::store::tables::{AlertStore, AuditEntry, AuditStore, LimitStore, Page, PageOf};

use super::{PostgresStore, Shared, failed, listen, patient, signed, unsigned};

impl LimitStore for PostgresStore {
    fn all(&self) -> StoreFuture<StoreResult<Vec<Limit>>> {
        let shared = Arc::clone(&self.0.shared);
        StoreFuture::new(patient(async move {
            let client = shared.client().await?;
            let all = "SELECT limit_json FROM kancy_limits ORDER BY scope, place";
            let rows = client.query(all, &[]).await.map_err(|e| failed(&e))?;
            let read = |row: &Row| serde_json::from_str::<KeptLimit>(row.get(0)).map_err(StoreError::corrupt)?.limit();
            rows.iter().map(read).collect()
        }))
    }

    fn put(&self, scope: Scope, limits: Vec<Limit>) -> StoreFuture<StoreResult<()>> {
        let shared = Arc::clone(&self.0.shared);
        let scope = scope.to_string();
        let kept: Vec<_> =
            limits.iter().map(|l| serde_json::to_string(&KeptLimit::of(l)).unwrap_or_default()).collect();
        StoreFuture::new(patient(async move {
            let mut client = shared.client().await?;
            let transaction = client.transaction().await.map_err(|e| failed(&e))?;
            // Of two that put the same scope, the later one's whole set stays.
            let steps = async {
                transaction.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 1))", &[&scope]).await?;
                transaction.execute("DELETE FROM kancy_limits WHERE scope = $1", &[&scope]).await?;
                let insert = "INSERT INTO kancy_limits (scope, place, limit_json) \
                     SELECT $1, place, limit_json FROM unnest($2::text[]) WITH ORDINALITY AS l (limit_json, place)";
                transaction.execute(insert, &[&scope, &kept]).await?;
                transaction.execute("SELECT pg_notify($1, $2)", &[&listen::LIMITS, &scope]).await
            };
            steps.await.map_err(|e| failed(&e))?;
            transaction.commit().await.map_err(|e| failed(&e))
        }))
    }
}

impl AlertStore for PostgresStore {
    fn raise(&self, alert: Alert) {
        let shared = Arc::clone(&self.0.shared);
        self.0.shared.runtime.spawn(async move { raise(&shared, &[alert]).await });
    }

    fn list(&self, page: Page) -> StoreFuture<StoreResult<PageOf<Alert>>> {
        let shared = Arc::clone(&self.0.shared);
        StoreFuture::new(patient(async move {
            let select = "SELECT seq, alert FROM kancy_alerts WHERE seq < $1 ORDER BY seq DESC LIMIT $2";
            let read = |row: &Row| serde_json::from_str::<KeptAlert>(row.get(1)).map_err(StoreError::corrupt)?.alert();
            list(&shared, select, &page, read).await
        }))
    }
}

/// Keeps alerts, each once.
pub(super) async fn raise(shared: &Shared, alerts: &[Alert]) -> StoreResult<()> {
    let mark = |a: &Alert| {
        let window = a.window_start.map_or(0, Timestamp::as_nanos);
        format!("{} {window} {}", limit_name(&a.limit), a.threshold)
    };
    let mut marked: Vec<_> =
        alerts.iter().map(|a| (mark(a), serde_json::to_string(&KeptAlert::of(a)).unwrap_or_default())).collect();
    marked.sort();
    let (marks, alerts): (Vec<_>, Vec<_>) = marked.into_iter().unzip();
    patient(async {
        let client = shared.client().await?;
        let insert = "INSERT INTO kancy_alerts (mark, alert) SELECT * FROM unnest($1::text[], $2::text[]) \
             ON CONFLICT (mark) DO NOTHING";
        client.execute(insert, &[&marks, &alerts]).await.map(drop).map_err(|e| failed(&e))
    })
    .await
}

impl AuditStore for PostgresStore {
    fn append(&self, entry: AuditEntry) -> StoreFuture<StoreResult<()>> {
        let shared = Arc::clone(&self.0.shared);
        StoreFuture::new(patient(async move {
            let client = shared.client().await?;
            let insert =
                "INSERT INTO kancy_audit (id, \"time\", actor, action, target, detail) VALUES ($1, $2, $3, $4, $5, $6)";
            let (time, detail) = (signed(entry.time.as_nanos()), entry.detail.to_string());
            let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
                [&&*entry.id, &time, &&*entry.actor, &&*entry.action, &entry.target, &detail];
            client.execute(insert, &values).await.map(drop).map_err(|e| failed(&e))
        }))
    }

    fn list(&self, page: Page) -> StoreFuture<StoreResult<PageOf<AuditEntry>>> {
        let shared = Arc::clone(&self.0.shared);
        StoreFuture::new(patient(async move {
            let select = "SELECT seq, id, \"time\", actor, action, target, detail FROM kancy_audit \
                 WHERE seq < $1 ORDER BY seq DESC LIMIT $2";
            let read = |row: &Row| {
                Ok(AuditEntry {
                    id: row.get::<_, &str>(1).into(),
                    time: Timestamp::from_nanos(unsigned(row.get(2))),
                    actor: row.get::<_, &str>(3).into(),
                    action: row.get::<_, String>(4).into(),
                    target: row.get(5),
                    detail: serde_json::from_str(row.get(6)).map_err(StoreError::corrupt)?,
                })
            };
            list(&shared, select, &page, read).await
        }))
    }
}

/// A page of a table whose first column is the row's number.
async fn list<T>(
    shared: &Shared,
    select: &str,
    page: &Page,
    read: impl Fn(&Row) -> StoreResult<T>,
) -> StoreResult<PageOf<T>> {
    let wrong =
        |_| StoreError::new(StoreErrorKind::Refused, "This cursor is not known: use the `next` of the page before.");
    let before: i64 = page.after.as_deref().map_or(Ok(i64::MAX), str::parse).map_err(wrong)?;
    let client = shared.client().await?;
    let most = signed(page.limit as u64).saturating_add(1);
    let mut rows = client.query(select, &[&before, &most]).await.map_err(|e| failed(&e))?;
    let more = rows.len() > page.limit;
    rows.truncate(page.limit);
    let next = rows.last().filter(|_| more).map(|row| row.get::<_, i64>(0).to_string());
    Ok(PageOf { items: rows.iter().map(read).collect::<StoreResult<_>>()?, next })
}
