//! Opening a file: the lock, the connection, the versions of its tables, and what a crash left behind.

use std::borrow::Cow;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::store::error::{StoreError, StoreErrorKind, StoreResult};

use super::columns::RECOVER;
use super::log::{self, Log};
use super::{failed, jobs, openings, outbox};

/// "kncy": tells a file of ours from any other program's.
const APPLICATION_ID: i32 = 0x6b6e_6379;

/// Each brings the file from one version to the next; the version is the number of those that have run.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
    include_str!("migrations/3.sql"),
    include_str!("migrations/4.sql"),
];

/// What the writer may keep of the file in memory.
const CACHE_KIB: i64 = 32 * 1024;
/// Pages of 4 KiB after which the log is copied into the file.
const CHECKPOINT_PAGES: i64 = 4_000;

/// The name that a link stands for: what is beside the file must be found by each of its names, as SQLite finds its own.
pub(super) fn named(path: &Path) -> Cow<'_, Path> {
    match path.canonicalize() {
        Ok(file) if path.is_symlink() => file.into(),
        _ => path.into(),
    }
}

/// Takes the lock file beside `path`, for as long as the returned file lives.
pub(super) fn lock(path: &Path) -> StoreResult<File> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let options = OpenOptions::new().create(true).truncate(false).write(true).open(&beside);
    let file = options.map_err(|e| refused(&beside, &format!("cannot be written: {e}")))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(refused(path, "is in use by another process; stop that one, or use postgres://"))
        }
        Err(TryLockError::Error(e)) => Err(refused(&beside, &format!("cannot be locked: {e}"))),
    }
}

/// The connection that writes.
pub(super) fn connect(path: &Path, durable: bool) -> StoreResult<Connection> {
    let connection = Connection::open(path).map_err(|e| refused(path, &format!("cannot be opened: {e}")))?;
    configure(&connection, durable).map_err(|e| unusable(path, &e))?;
    Ok(connection)
}

/// A connection that reads.
pub(super) fn connect_reader(path: &Path) -> StoreResult<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|e| failed(&e))?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(|e| failed(&e))?;
    Ok(connection)
}

fn configure(connection: &Connection, durable: bool) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "synchronous", if durable { "FULL" } else { "NORMAL" })?;
    // The indexes by id are written all over: what does not fit is read again for each row, and copied at each checkpoint.
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

/// Checks whose file it is, migrates it, and posts what was in flight at a crash. Returns how many requests that were,
/// and the log, of which nothing is left to do.
pub(super) fn prepare(connection: &mut Connection, path: &Path, durable: bool) -> StoreResult<(u64, Log)> {
    let told = |e: rusqlite::Error| unusable(path, &e);
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (owner, version) = (number("application_id").map_err(told)?, number("user_version").map_err(told)?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(told)?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if owner != APPLICATION_ID && (owner != 0 || tables != 0) {
        return Err(refused(path, "belongs to another program; name another file"));
    }
    if version > MIGRATIONS.len() {
        return Err(refused(
            path,
            &format!("is of version {version}, newer than this program's {}: update the program", MIGRATIONS.len()),
        ));
    }
    connection.pragma_update(None, "journal_mode", "WAL").map_err(told)?;
    let transaction = connection.transaction().map_err(told)?;
    for migration in &MIGRATIONS[version..] {
        transaction.execute_batch(migration).map_err(told)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(told)?;
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64).map_err(told)?;
    let owner: i64 = transaction.query_row("SELECT owner FROM log", [], |row| row.get(0)).map_err(told)?;
    let aside = if version == 0 { log::put_aside(path) } else { Ok(()) };
    let log = aside.and_then(|()| Log::open(path, owner.cast_unsigned(), durable));
    let mut log = log.map_err(|e| refused(path, &format!("cannot use {}: {e}", log::beside(path).display())))?;
    openings::recover(&transaction, log.lines()).map_err(told)?;
    let recovered = transaction.execute(RECOVER, []).map_err(told)?;
    transaction.execute_batch(&[jobs::RECOVER, outbox::RECOVER].join(";")).map_err(told)?;
    transaction.commit().map_err(told)?;
    log.restart();
    Ok((recovered as u64, log))
}

fn unusable(path: &Path, error: &rusqlite::Error) -> StoreError {
    match failed(error).kind() {
        StoreErrorKind::Corrupt => {
            refused(path, &format!("is damaged or no SQLite database ({error}); restore a copy"))
        }
        _ => refused(path, &format!("cannot be used: {error}")),
    }
}

fn refused(path: &Path, why: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, format!("the database {} {why}", path.display()))
}
