//! What the writer does with a batch: records become durable in the log at once, and get their rows many at a time.

use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction};

use crate::base::log as told;
use crate::store::error::{StoreError, StoreResult};

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
    /// Whether the log could not be written the last time.
    is_logless: bool,
}

impl Committer {
    /// What was in the log before must have its rows.
    pub(super) fn new(connection: Connection, log: Log) -> Self {
        Self { connection, log, openings: Openings::default(), since: None, is_failing: false, is_logless: false }
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
        if let Err(error) = &logged {
            keep_all(batch.promises.drain(..), &written);
            if !self.is_logless && written.is_ok() {
                let error = StoreError::unavailable(error.to_string());
                told::store_failed("the log beside the database cannot be written: each row is made at once", &error);
            }
        }
        self.is_logless = logged.is_err();
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

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::path::PathBuf;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::base::store_future::StoreFuture;
    use crate::store::contract::ledger::{NOON, record};
    use crate::store::sqlite::promise::promise;
    use crate::store::sqlite::{line, open};

    struct Trouble {
        committer: Committer,
        folder: PathBuf,
    }

    impl Trouble {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("kancy-commit-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let file = folder.join("kancy.db");
            let mut connection = open::connect(&file, true).unwrap();
            let (_, log) = open::prepare(&mut connection, &file, true).unwrap();
            Self { committer: Committer::new(connection, log), folder }
        }

        /// Commits a record; what whoever waits for it is told, and whether the batch was written.
        fn commit(&mut self, id: &str) -> (Option<bool>, bool) {
            let (promise, mut future) = promise();
            let mut batch = Batch { records: 1, promises: vec![promise], ..Batch::default() };
            line::push(&record(id, NOON), &mut batch.lines);
            let written = self.committer.write(&mut batch, false).is_ok();
            (told(&mut future), written)
        }

        fn rows(&self) -> i64 {
            self.committer.connection.query_row("SELECT count(*) FROM ledger", [], |row| row.get(0)).unwrap()
        }

        fn refuse_rows(&self, refuse: bool) {
            self.committer.connection.pragma_update(None, "query_only", refuse).unwrap();
        }
    }

    impl Drop for Trouble {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.folder));
        }
    }

    fn told(future: &mut StoreFuture<StoreResult<()>>) -> Option<bool> {
        match std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => Some(result.is_ok()),
            Poll::Pending => None,
        }
    }

    #[test]
    fn what_is_in_the_log_is_durable_without_its_row() {
        let mut trouble = Trouble::new("plain");
        assert_eq!((trouble.commit("a"), trouble.rows()), ((Some(true), true), 0));
        assert!(trouble.committer.due_in().is_some());
    }

    #[test]
    fn rows_are_made_at_once_where_the_log_cannot_be_written() {
        let mut trouble = Trouble::new("logless");
        trouble.commit("a");
        trouble.committer.log.refuse(true);
        assert_eq!((trouble.commit("b"), trouble.rows()), ((Some(true), true), 2));
        trouble.committer.log.refuse(false);
        assert_eq!((trouble.commit("c"), trouble.rows()), ((Some(true), true), 2));
    }

    #[test]
    fn where_nothing_can_be_written_everybody_is_told_so_and_nothing_is_lost() {
        let mut trouble = Trouble::new("full");
        trouble.commit("a");
        trouble.committer.log.refuse(true);
        trouble.refuse_rows(true);
        assert_eq!(trouble.commit("b"), (Some(false), false));
        assert_eq!(trouble.commit("c"), (Some(false), false));
        assert_eq!((trouble.committer.retained(), trouble.committer.log.unwritten()), (3, 2));
        trouble.committer.log.refuse(false);
        // In the log again, it is durable; but as long as there are no rows, nothing should be opened.
        assert_eq!(trouble.commit("d"), (Some(true), false));
        assert_eq!((trouble.committer.retained(), trouble.committer.log.unwritten()), (4, 0));
        trouble.refuse_rows(false);
        assert!(trouble.committer.write(&mut Batch::default(), false).is_ok());
        assert_eq!((trouble.committer.retained(), trouble.rows()), (0, 4));
    }
}
