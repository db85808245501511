//! The statements of one transaction: two round trips, where no limit is new.

use std::collections::BTreeSet;

use deadpool_postgres::Object;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::base::clock::Timestamp;
use crate::store::error::{StoreError, StoreResult};

use crate::store::postgres::{failed, unsigned};

/// Rows that others take for granted: made before they are locked.
const ENSURE: &str = "INSERT INTO kancy_quota_workspaces SELECT unnest($1::text[]) ON CONFLICT (workspace) DO NOTHING";
const LOCK: &str = "SELECT workspace, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint FROM \
     (SELECT workspace FROM kancy_quota_workspaces WHERE workspace = ANY ($1) ORDER BY workspace FOR UPDATE) locked";
const COUNTERS: &str = "SELECT workspace, name, state FROM kancy_quota_counters \
     WHERE workspace = ANY ($1) AND (name = ANY ($2) \
     OR name IN (SELECT unnest(counters) FROM kancy_quota_grants WHERE id = ANY ($3)))";
const GRANTS: &str = "SELECT id, workspace, open_grant FROM kancy_quota_grants WHERE id = ANY ($1)";
const GRANTS_OF: &str = "SELECT id, workspace, open_grant FROM kancy_quota_grants WHERE workspace = $1";
/// Half of it may pass before it is written again.
const KEEP: &str = "UPDATE kancy_quota_grants SET until = now() + $2::float8 * interval '1 second', kept = true \
     WHERE id = ANY ($1) AND (NOT kept OR until < now() + $2::float8 / 2 * interval '1 second')";
/// Rows that a transaction is at are left for the next time: there is no order in which both would take them.
const KEEP_MANY: &str = "UPDATE kancy_quota_grants SET until = now() + $2::float8 * interval '1 second', kept = true \
     WHERE id IN (SELECT id FROM kancy_quota_grants WHERE id = ANY ($1) \
         AND (NOT kept OR until < now() + $2::float8 / 2 * interval '1 second') FOR UPDATE SKIP LOCKED)";
const WRITE: &str = "WITH counted AS (INSERT INTO kancy_quota_counters (workspace, name, state, touched) \
         SELECT c.workspace, c.name, c.state, now() FROM unnest($1::text[], $2::text[], $3::text[]) AS c (workspace, name, state) \
         ON CONFLICT (workspace, name) DO UPDATE SET state = excluded.state, touched = excluded.touched), \
     ended AS (DELETE FROM kancy_quota_grants WHERE id = ANY ($4)) \
     INSERT INTO kancy_quota_grants (id, workspace, instance, counters, open_grant, until) \
         SELECT g.id, g.workspace, g.instance, string_to_array(g.counters, chr(30)), g.open_grant, \
             now() + g.seconds * interval '1 second' \
         FROM unnest($5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::float8[]) \
             AS g (id, workspace, instance, counters, open_grant, seconds) \
         ON CONFLICT (id) DO UPDATE SET counters = excluded.counters, open_grant = excluded.open_grant";

/// What stands in the database, under the lock.
pub(super) struct Found {
    pub(super) now: Timestamp,
    /// Workspace, name, state.
    pub(super) counters: Vec<(String, String, String)>,
    pub(super) grants: Vec<FoundGrant>,
}

/// An open grant: id, workspace, JSON.
pub(super) type FoundGrant = (String, String, String);

/// What a transaction changes.
#[derive(Default)]
pub(super) struct Changes {
    /// Workspaces, names, states.
    pub(super) counters: (Vec<String>, Vec<String>, Vec<String>),
    pub(super) ended: Vec<String>,
    pub(super) grants: GrantRows,
}

/// Open grants, by column. The names of counters are joined by U+001E.
#[derive(Default)]
pub(super) struct GrantRows {
    pub(super) ids: Vec<String>,
    pub(super) workspaces: Vec<String>,
    pub(super) instances: Vec<String>,
    pub(super) counters: Vec<String>,
    pub(super) grants: Vec<String>,
    /// How long one lives that is not kept on; `None`: as long as its instance.
    pub(super) seconds: Vec<Option<f64>>,
}

/// Begins the transaction: locks the workspaces, then reads.
pub(super) async fn begin(
    client: &Object,
    workspaces: &BTreeSet<&str>,
    names: &BTreeSet<String>,
    grants: &[&str],
) -> StoreResult<Found> {
    let told = |e: tokio_postgres::Error| failed(&e);
    let workspaces: Vec<_> = workspaces.iter().copied().collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let lock = client.prepare_cached(LOCK).await.map_err(told)?;
    let read_counters = client.prepare_cached(COUNTERS).await.map_err(told)?;
    let read_grants = client.prepare_cached(GRANTS).await.map_err(told)?;
    loop {
        // Sent at once, run one after the other: each sees what was committed before the lock was given.
        let (begun, locked, counters, found) = tokio::join!(
            client.batch_execute("BEGIN"),
            async { client.query(&lock, &[&workspaces]).await },
            async { client.query(&read_counters, &[&workspaces, &names, &grants]).await },
            async { client.query(&read_grants, &[&grants]).await },
        );
        begun.map_err(told)?;
        let (locked, counters, found) = (locked.map_err(told)?, counters.map_err(told)?, found.map_err(told)?);
        if locked.len() < workspaces.len() {
            client.batch_execute("ROLLBACK").await.map_err(told)?;
            client.execute(ENSURE, &[&workspaces]).await.map_err(told)?;
            continue;
        }
        let micros = locked.iter().map(|row| unsigned(row.get(1))).max();
        let now = micros.ok_or_else(|| StoreError::unavailable("PostgreSQL: no workspace was asked for"))?;
        return Ok(Found {
            now: Timestamp::from_nanos(now.saturating_mul(1_000)),
            counters: counters.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect(),
            grants: found.iter().map(grant).collect(),
        });
    }
}

/// Keeps lasting grants on for so many seconds.
pub(super) async fn keep(client: &Object, ids: &[&str], seconds: f64) -> StoreResult<()> {
    let statement = if ids.len() == 1 { KEEP } else { KEEP_MANY };
    let statement = client.prepare_cached(statement).await.map_err(|e| failed(&e))?;
    client.execute(&statement, &[&ids, &seconds]).await.map(drop).map_err(|e| failed(&e))
}

/// All open grants of a workspace.
pub(super) async fn grants_of(client: &Object, workspace: &str) -> StoreResult<Vec<FoundGrant>> {
    let statement = client.prepare_cached(GRANTS_OF).await.map_err(|e| failed(&e))?;
    let rows = client.query(&statement, &[&workspace]).await.map_err(|e| failed(&e))?;
    Ok(rows.iter().map(grant).collect())
}

fn grant(row: &Row) -> FoundGrant {
    (row.get(0), row.get(1), row.get(2))
}

/// Writes and commits.
pub(super) async fn commit(client: &Object, changes: Changes) -> StoreResult<()> {
    let told = |e: tokio_postgres::Error| failed(&e);
    let Changes { counters: (workspaces, names, states), ended, grants } = changes;
    let write = client.prepare_cached(WRITE).await.map_err(told)?;
    let values: [&(dyn ToSql + Sync); 10] = [
        &workspaces,
        &names,
        &states,
        &ended,
        &grants.ids,
        &grants.workspaces,
        &grants.instances,
        &grants.counters,
        &grants.grants,
        &grants.seconds,
    ];
    let (written, committed) = tokio::join!(client.execute(&write, &values), client.batch_execute("COMMIT"));
    written.map_err(told)?;
    committed.map_err(told)
}
