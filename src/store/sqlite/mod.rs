//! Keys, limits, ledger, video jobs and their webhooks in one SQLite file.
//!
//! One thread writes: whatever waits while a commit is being synced goes into the next one together (group commit), so
//! that many requests share one sync. What is recorded goes into a log beside the file first and gets its rows many at a
//! time, a second later at the latest, or as soon as somebody looks. Reads have connections of their own beside it (WAL).
//! There is no runtime in here; futures are woken from those threads.
//!
//! ```no_run
//! use kancy::SqliteStore;
//! let store = SqliteStore::open("kancy.db")?;
//! # let _ = store;
//! # Ok::<(), kancy::StoreError>(())
//! ```
//!
//! With [`durable`](SqliteOptions::durable) (the default) a request's hold is on disk before its vendor is called, and
//! its record before the last byte of the answer leaves. After a crash, requests that were opened and never finished are
//! posted at their hold when the file is opened again: nothing that a vendor may have billed is lost. The rows of video
//! jobs stay open: their jobs go on and complete them.
//!
//! The file belongs to one process, which a lock file beside it holds to. While it is open, and after a crash, what is in
//! `<file>-log` and SQLite's `<file>-wal` belongs to it: it is moved together with them. Closed, it is whole without. A
//! file of a newer version, of another program or that is damaged is refused in one line and left as it is; so is a log
//! of another file, or one that is damaged before its end. Beside a new file, the log of one that was removed is put aside.

mod columns;
mod commit;
mod jobs;
mod keys;
mod ledger;
mod line;
mod log;
mod open;
mod openings;
mod outbox;
mod promise;
mod readers;
mod tables;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::base::clock::Timestamp;

use super::error::{StoreError, StoreErrorKind, StoreResult};

use commit::Committer;
use readers::Readers;
use writer::Writer;

/// How a [`SqliteStore`] is opened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// Whether holds and records are on disk before requests go on; true unless set.
    pub durable: bool,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { durable: true }
    }
}

/// Stores keys, limits, ledger, alerts, audit trail, video jobs, their outbox and webhook endpoints in an SQLite file.
/// Cheap to clone; the file is closed with the last clone.
#[derive(Clone)]
pub struct SqliteStore(Arc<Inner>);

struct Inner {
    // Before the readers: what they wait for must be written when the threads are joined.
    writer: Writer,
    readers: Readers,
    durable: bool,
    key_epoch: AtomicU64,
    recovered: u64,
    _lock: std::fs::File,
}

impl SqliteStore {
    /// Opens the file at `path`, or makes it, and brings it up to this version.
    pub fn open(path: impl AsRef<Path>) -> StoreResult<Self> {
        Self::open_with(path, SqliteOptions::default())
    }

    /// Opens with options.
    pub fn open_with(path: impl AsRef<Path>, options: SqliteOptions) -> StoreResult<Self> {
        let path = &*open::named(path.as_ref());
        let lock = open::lock(path)?;
        let mut connection = open::connect(path, options.durable)?;
        let (recovered, log) = open::prepare(&mut connection, path, options.durable)?;
        let writer = Writer::start(Committer::new(connection, log))?;
        let readers = Readers::start(path, writer.handle())?;
        Ok(Self(Arc::new(Inner {
            writer,
            readers,
            durable: options.durable,
            key_epoch: AtomicU64::new(0),
            recovered,
            _lock: lock,
        })))
    }

    /// How many requests were in flight when the process before this one went down, and were posted at their hold.
    pub fn recovered(&self) -> u64 {
        self.0.recovered
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("durable", &self.0.durable).finish_non_exhaustive()
    }
}

/// What SQLite reports, by meaning. Its texts hold no data of ours.
fn failed(error: &rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    let kind = match error.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::new(kind, format!("SQLite: {error}"))
}

/// All rows of a query.
fn query<T>(
    connection: &rusqlite::Connection,
    sql: &str,
    values: impl rusqlite::Params,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> StoreResult<Vec<T>> {
    let rows = || connection.prepare_cached(sql)?.query_map(values, read)?.collect::<rusqlite::Result<Vec<T>>>();
    rows().map_err(|e| failed(&e))
}

/// A time that was stored.
fn time(at: i64) -> Timestamp {
    Timestamp::from_nanos(at.max(0) as u64)
}

/// A time as it is stored.
fn nanos(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanos()).unwrap_or(i64::MAX)
}
