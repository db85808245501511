//! The versions of the tables.

use deadpool_postgres::ClientWrapper;

use crate::store::error::{StoreError, StoreErrorKind, StoreResult};

use super::failed;

/// Each brings the tables from one version to the next; the version is the number of those that have run.
const MIGRATIONS: &[&str] =
    &[include_str!("migrations/1.sql"), include_str!("migrations/2.sql"), include_str!("migrations/3.sql")];
/// "kncy": what instances that start at the same time wait for.
const LOCK: i64 = 0x6b6e_6379;

/// Brings the tables up to this version, one instance after the other. Those of a newer version are refused as they are.
pub(super) async fn run(client: &mut ClientWrapper) -> StoreResult<()> {
    let transaction = client.transaction().await.map_err(|e| failed(&e))?;
    // An index on a large ledger takes its time, and so may the instance before this one.
    transaction.batch_execute("SET LOCAL statement_timeout = 0").await.map_err(|e| failed(&e))?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await.map_err(|e| failed(&e))?;
    transaction
        .batch_execute("CREATE TABLE IF NOT EXISTS kancy_migrations (version integer PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())")
        .await
        .map_err(|e| failed(&e))?;
    let version: i32 = transaction
        .query_one("SELECT coalesce(max(version), 0) FROM kancy_migrations", &[])
        .await
        .map_err(|e| failed(&e))?
        .get(0);
    let known = usize::try_from(version).unwrap_or(usize::MAX);
    let Some(wanted) = MIGRATIONS.get(known..) else {
        return Err(StoreError::new(
            StoreErrorKind::Refused,
            format!(
                "the database is of version {version}, newer than this program's {}: update the program",
                MIGRATIONS.len()
            ),
        ));
    };
    for (version, migration) in (version + 1..).zip(wanted) {
        transaction.batch_execute(migration).await.map_err(|e| failed(&e))?;
        transaction
            .execute("INSERT INTO kancy_migrations (version) VALUES ($1)", &[&version])
            .await
            .map_err(|e| failed(&e))?;
    }
    transaction.commit().await.map_err(|e| failed(&e))
}
