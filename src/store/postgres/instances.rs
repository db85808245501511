//! Heartbeats: who is alive, and what the dead have left behind.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::base::clock::Timestamp;
use crate::base::short_id::Id;
use crate::domain::key::KeyId;
use crate::domain::record::UsageRecord;
use crate::store::error::StoreResult;

use super::quota::{End, Job, QuotaQueue};
use super::{Shared, failed, patient, row, signed};

/// Keys that wait for their last use to be written; of more than these the last use is not kept.
const TOUCHED: usize = 10_000;
/// Orphans that are taken in at a time.
const ORPHANS: i64 = 1_000;

/// Posts what the dead had running at what they held, but for the rows that jobs have yet to complete (one that is settled
/// will not: its row was lost where rows are not durable). Rows that another instance is at are left to it.
const POST_RUNNING: &str = "UPDATE kancy_ledger SET outcome = 'unknown_after_crash', estimated = true, status = NULL, \
     input_tokens = coalesce((held ->> 'input_tokens')::bigint, 0), \
     output_tokens = coalesce((held ->> 'output_tokens')::bigint, 0), \
     images = coalesce((held ->> 'images')::bigint, 0), \
     video_seconds = coalesce((held ->> 'video_seconds')::bigint, 0), \
     audio_seconds = coalesce((held ->> 'audio_seconds')::bigint, 0), \
     characters = coalesce((held ->> 'characters')::bigint, 0), \
     cost = coalesce(((held ->> 'spend')::numeric * 1000000000)::bigint, 0), held = NULL \
     WHERE id IN (SELECT id FROM kancy_ledger WHERE outcome IS NULL \
         AND instance NOT IN (SELECT id FROM kancy_instances WHERE seen > now() - $1::float8 * interval '1 second') \
         AND NOT EXISTS (SELECT FROM kancy_jobs WHERE record_id = kancy_ledger.id AND due_at IS NOT NULL) \
         ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED) \
     RETURNING workspace";

/// What the dead held and the records of their requests; whether it is a job's, and whether a job has kept it.
const ORPHANED_GRANTS: &str = "SELECT id, workspace, open_grant::json ->> 'record', until IS NOT NULL, kept FROM kancy_quota_grants \
     WHERE until < now() OR until IS NULL \
         AND instance NOT IN (SELECT id FROM kancy_instances WHERE seen > now() - $1::float8 * interval '1 second') \
     ORDER BY id LIMIT $2";

/// When keys were last used, until it is written.
#[derive(Default)]
pub(super) struct Touches(Mutex<HashMap<KeyId, Timestamp>>);

impl Touches {
    pub(super) fn note(&self, id: &KeyId, at: Timestamp) {
        let mut touched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = touched.get_mut(id) {
            *last = at.max(*last);
        } else if touched.len() < TOUCHED {
            touched.insert(id.clone(), at);
        }
    }

    async fn write(&self, shared: &Shared) -> StoreResult<()> {
        let touched = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if touched.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = touched.keys().map(KeyId::as_str).collect();
        let at: Vec<_> = touched.values().map(|at| signed(at.as_nanos())).collect();
        let client = shared.client().await?;
        // Rows that others write at this moment are skipped: it is as good to have theirs.
        let update = "UPDATE kancy_keys SET last_used_at = greatest(last_used_at, t.at) \
             FROM unnest($1::text[], $2::bigint[]) AS t (id, at) WHERE kancy_keys.id = t.id AND kancy_keys.id IN \
             (SELECT id FROM kancy_keys WHERE id = ANY($1) ORDER BY id FOR UPDATE SKIP LOCKED)";
        client.execute(update, &[&ids, &at]).await.map(drop).map_err(|e| failed(&e))
    }
}

/// Tells the others that this instance is alive.
pub(super) async fn beat(shared: &Shared) -> StoreResult<()> {
    let client = shared.client().await?;
    let beat = "INSERT INTO kancy_instances (id, seen) VALUES ($1, now()) ON CONFLICT (id) DO UPDATE SET seen = now()";
    client.execute(beat, &[&shared.instance]).await.map(drop).map_err(|e| failed(&e))
}

/// Keeps the heartbeat, takes in what the dead left, and writes when keys were used, until the store is closed.
pub(super) async fn run(shared: Arc<Shared>, quota: Arc<QuotaQueue>, touches: Arc<Touches>, stale_after: Duration) {
    let mut closed = shared.closed.subscribe();
    let mut ticks = interval((stale_after / 10).min(Duration::from_secs(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut corrected = Vec::new();
    loop {
        tokio::select! {
            _ = closed.wait_for(|closed| *closed) => return,
            _ = ticks.tick() => {}
        }
        // A tick later: by then whoever else took something in has settled it, and a hold is not counted twice.
        if !corrected.is_empty() {
            shared.missed().extend(std::mem::take(&mut corrected));
            shared.corrections.fetch_add(1, Ordering::AcqRel);
        }
        // What fails is tried again at the next tick.
        let taken_in = patient(async {
            beat(&shared).await?;
            touches.write(&shared).await?;
            take_in(&shared, &quota, stale_after, &mut corrected).await
        });
        drop(taken_in.await);
    }
}

/// Takes in what the dead left. The workspaces whose records were ended in their stead are `corrected`, whatever fails
/// after that.
async fn take_in(
    shared: &Shared,
    quota: &QuotaQueue,
    stale_after: Duration,
    corrected: &mut Vec<String>,
) -> StoreResult<()> {
    let stale = stale_after.as_secs_f64();
    let posted = shared.query(POST_RUNNING, &[&stale, &ORPHANS]).await?;
    corrected.extend(posted.iter().map(|row| row.get::<_, String>(0)));
    let orphans = shared.query(ORPHANED_GRANTS, &[&stale, &ORPHANS]).await?;
    if orphans.is_empty() {
        // Long gone, and nothing left that names them.
        shared.execute("DELETE FROM kancy_instances WHERE seen < now() - interval '1 day'", &[]).await?;
    } else {
        let ids: Vec<_> = orphans.iter().filter_map(|orphan| orphan.get::<_, Option<&str>>(2)).collect();
        let records = records(shared, &ids).await?;
        for orphan in &orphans {
            let record = orphan.get::<_, Option<&str>>(2).map(|id| records.get(id.as_bytes()));
            let kept = orphan.get::<_, bool>(3).then(|| orphan.get(4));
            if let Some(end) = end(record, kept, shared.durable) {
                quota.push_surely(Job::settle(orphan.get(0), orphan.get(1), end));
            }
        }
        quota.flush().await;
    }
    Ok(())
}

async fn records(shared: &Shared, ids: &[&str]) -> StoreResult<HashMap<Id, UsageRecord>> {
    let find = format!("SELECT {} FROM kancy_ledger WHERE id = ANY ($1)", &*row::SELECTED);
    let read = |row| row::read(row).map(|(record, _)| (record.id.clone(), record));
    shared.query(&find, &[&ids]).await?.iter().map(read).collect()
}

/// How an orphaned grant ends, by the ledger's word on its request; `None` = not yet. A request without a record says
/// nothing; one whose record is not there never reached its vendor, where a row is durable before that. `kept` is of a
/// job's: no vendor is called for one before that.
fn end(record: Option<Option<&UsageRecord>>, kept: Option<bool>, durable: bool) -> Option<End> {
    match (record, kept) {
        (Some(Some(record)), _) if record.outcome.is_some() => Some(End::Used(record.amounts())),
        (_, Some(false)) => Some(End::Void),
        (Some(Some(_)), None) => None,
        (Some(None), None) if durable => Some(End::Void),
        _ => Some(End::AtHold),
    }
}
