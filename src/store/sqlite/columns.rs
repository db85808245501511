//! The ledger's columns: a record into a row, a row into a record.

use std::sync::Arc;

use rusqlite::Error::ToSqlConversionFailure;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, Row, Statement};
use serde::de::DeserializeOwned;

use crate::base::clock::Timestamp;
use crate::base::money::Money;
use crate::domain::caller::Home;
use crate::domain::limit::Amounts;
use crate::domain::modality::Modality;
use crate::domain::name::Name;
use crate::domain::record::{Outcome, UsageRecord};
use crate::domain::usage::Usage;
use crate::store::sql::{UNITS, unsigned};
use crate::store::units::usage;

use super::line::Line;

/// In the order in which a [`Line`] has and [`read_record`] reads them.
const COLUMNS: &str = "id, request_id, time, workspace, project, team, environment, key_id, endpoint, modality, model, \
     provider, upstream_model, upstream_request_id, status, code, outcome, streamed, latency_ms, first_byte_ms, \
     input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, images, video_seconds, \
     audio_seconds, characters, image_input_tokens, image_output_tokens, audio_input_tokens, audio_output_tokens, \
     videos, estimated, cost, held";
const COUNT: usize = 37;
/// The columns that are known when a request is opened and never change: up to its endpoint.
const OPENED: usize = 9;

/// Posts what a crash left running at what it held, but for the rows that jobs complete.
pub(super) const RECOVER: &str = "UPDATE ledger SET outcome = 'unknown_after_crash', estimated = 1, status = NULL, \
     input_tokens = coalesce(held ->> '$.input_tokens', 0), output_tokens = coalesce(held ->> '$.output_tokens', 0), \
     images = coalesce(held ->> '$.images', 0), video_seconds = coalesce(held ->> '$.video_seconds', 0), \
     audio_seconds = coalesce(held ->> '$.audio_seconds', 0), characters = coalesce(held ->> '$.characters', 0), \
     cost = coalesce(CAST(replace(held ->> '$.spend', '.', '') AS INTEGER), 0), held = NULL \
     WHERE outcome IS NULL \
     AND id NOT IN (SELECT record_id FROM jobs WHERE due_at IS NOT NULL AND record_id IS NOT NULL)";

/// `SELECT` of whole records, with the row's number last.
pub(super) fn select_records(condition: &str) -> String {
    format!("SELECT {COLUMNS}, seq FROM ledger {condition}")
}

/// Usage from [`UNITS`], the first of which is column `from`.
pub(super) fn read_usage(row: &Row<'_>, from: usize) -> rusqlite::Result<Usage> {
    let mut units = [0; UNITS.len()];
    for (n, unit) in units.iter_mut().enumerate() {
        *unit = row.get(from + n)?;
    }
    Ok(usage(units.map(unsigned)))
}

/// The statement of [`write_line`]. A row that has ended stays as it is: the first end is the only one.
pub(super) fn insert(connection: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
    static STATEMENT: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        let marks: Vec<_> = (1..=COUNT).map(|n| format!("?{n}")).collect();
        // Who asked, when and for what stays as it was opened, and with it most of the indexes.
        let updates: Vec<_> = COLUMNS.split(", ").skip(OPENED).map(|c| format!("{c} = excluded.{c}")).collect();
        format!(
            "INSERT INTO ledger ({COLUMNS}) VALUES ({}) ON CONFLICT (id) DO UPDATE SET {} WHERE outcome IS NULL",
            marks.join(", "),
            updates.join(", ")
        )
    });
    connection.prepare_cached(&STATEMENT)
}

/// Gives a record its row.
pub(super) fn write_line(insert: &mut Statement<'_>, line: Line<'_>) -> rusqlite::Result<()> {
    let mut values = line.values();
    for n in 1..COUNT {
        let value = values.next().ok_or_else(|| ToSqlConversionFailure("a line of the log is cut".into()))?;
        insert.raw_bind_parameter(n, ToSqlOutput::Borrowed(value))?;
    }
    let held = values.held().map(|held| serde_json::to_string(&held).unwrap_or_default());
    insert.raw_bind_parameter(COUNT, held)?;
    insert.raw_execute().map(drop)
}

/// Reads a record and its row's number, in the columns of [`select_records`].
pub(super) fn read_record(row: &Row<'_>) -> rusqlite::Result<(UsageRecord, i64)> {
    let number = |n: usize| row.get::<_, Option<i64>>(n).map(|v| v.map(|v| v.max(0) as u64));
    let record = UsageRecord {
        id: row.get::<_, String>(0)?.into(),
        request_id: row.get::<_, String>(1)?.into(),
        time: Timestamp::from_nanos(number(2)?.unwrap_or_default()),
        home: Arc::new(Home {
            workspace: row.get::<_, Word<Name>>(3)?.0,
            project: row.get::<_, Word<Name>>(4)?.0,
            team: row.get::<_, Option<Word<Name>>>(5)?.map(|w| w.0),
            environment: row.get::<_, Option<Word<Name>>>(6)?.map(|w| w.0),
        }),
        key_id: row.get(7)?,
        endpoint: row.get(8)?,
        modality: row.get::<_, Option<Word<Modality>>>(9)?.map(|w| w.0),
        model: row.get(10)?,
        provider: row.get(11)?,
        upstream_model: row.get(12)?,
        upstream_request_id: row.get(13)?,
        status: row.get(14)?,
        code: row.get(15)?,
        outcome: row.get::<_, Option<Word<Outcome>>>(16)?.map(|w| w.0),
        streamed: row.get(17)?,
        latency_ms: number(18)?,
        first_byte_ms: number(19)?,
        usage: read_usage(row, 20)?,
        estimated: row.get(34)?,
        cost: Money::from_nanos(number(35)?.unwrap_or_default()),
        held: row.get::<_, Option<Json<Amounts>>>(36)?.map(|j| j.0),
    };
    Ok((record, row.get(COUNT)?))
}

/// A value kept as its word.
pub(super) struct Word<T>(pub(super) T);

impl<T: DeserializeOwned> FromSql for Word<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let word = serde_json::Value::from(value.as_str()?);
        serde_json::from_value(word).map(Self).map_err(|e| FromSqlError::Other(Box::new(e)))
    }
}

/// A value kept as JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Self).map_err(|e| FromSqlError::Other(Box::new(e)))
    }
}
