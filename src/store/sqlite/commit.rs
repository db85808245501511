//! What the writer does with a batch: records become durable in the log at once, and get their rows many at a time.

use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction};

use crate::base::log as told;
use crate::store::error::StoreResult;

use super::failed;
use super::log::Log;
use super::openings::Openings;
use super::promise::keep_all;
use super::writer::{Batch, Done, Look};

/// So many lines get their rows in one transaction: most of a row's cost is shared by then, and nobody waits for long.
const LINES: usize = 1_000;
/// What has been in the log for so long gets its row, whatever its number.
const AGE: Duration = Duration::from_secs(1);

/// The room that a batch may keep.
const BYTES: usize = 512 * 1024;

pub(super) struct Committer {
    connection: Connection,
    log: Log,
    openings: Openings,
    /// When the oldest line came into the log.
    since: Option<Instant>,
    is_failing: bool,
}

impl Committer {
    /// What was in the log before must have its rows.
    pub(super) fn new(connection: Connection, log: Log) -> Self {
        Self { connection, log, openings: Openings::default(), since: None, is_failing: false }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.is_failing
    }

    /// How many rows wait because they could not be written.
    pub(super) fn retained(&self) -> usize {
        if self.is_failing { self.log.len().max(1) } else { 0 }
    }

    /// When the log is due even if nothing comes any more.
    pub(super) fn due_in(&self) -> Option<Duration> {
        self.since.map(|since| AGE.saturating_sub(since.elapsed()))
    }

    /// Writes a batch and tells everyone; it is empty afterwards.
    pub(super) fn write(&mut self, batch: &mut Batch, closed: bool) -> StoreResult<()> {
        let logged = self.log.append(std::mem::take(&mut batch.records), &batch.lines);
        batch.lines.clear();
        batch.lines.shrink_to(BYTES);
        if logged.is_ok() {
            keep_all(batch.promises.drain(..), &Ok(()));
        }
        if self.since.is_none() && self.log.len() > 0 {
            self.since = Some(Instant::now());
        }
        let look = std::mem::take(&mut batch.look);
        let is_due = self.log.len() >= LINES || self.due_in().is_some_and(|due| due.is_zero());
        // Where the log cannot be written, the rows themselves may.
        let gives_rows = look > Look::Any || is_due || closed || self.is_failing || logged.is_err();
        let works = std::mem::take(&mut batch.works);
        let mut written = Ok(());
        if gives_rows || !works.is_empty() {
            let mut done: Vec<Done> = Vec::with_capacity(works.len());
            written = self.transact(look, gives_rows, |transaction| {
                done.extend(works.into_iter().map(|work| work(transaction)));
            });
            done.into_iter().for_each(|done| done(written.clone()));
        }
        if logged.is_err() {
            keep_all(batch.promises.drain(..), &written);
        }
        self.is_failing = written.is_err() && self.log.len() > 0;
        written
    }

    /// One transaction. With `gives_rows`, all that is in the log gets its row, and the log starts again.
    fn transact(&mut self, look: Look, gives_rows: bool, work: impl FnOnce(&Transaction<'_>)) -> StoreResult<()> {
        let change = (|| {
            let transaction = self.connection.transaction()?;
            work(&transaction);
            let lines = self.log.lines().take(if gives_rows { usize::MAX } else { 0 });
            let change = self.openings.write(&transaction, lines, look == Look::Running)?;
            transaction.commit()?;
            Ok(change)
        })();
        self.openings.committed(change.map_err(|e| failed(&e))?);
        if gives_rows {
            self.log.restart();
            self.since = None;
        }
        Ok(())
    }

    /// Leaves the file whole, without its logs; `written` is what the last batch came to.
    pub(super) fn close(self, written: StoreResult<()>) {
        if let (Err(error), lost @ 1..) = (written, self.log.unwritten()) {
            told::store_failed(&format!("{lost} rows of the ledger were never written"), &error);
        }
        // Where a reader is in the way, the next start does it.
        drop(self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)"));
        self.log.close();
    }
}
