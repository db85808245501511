//! The ledger: usage records, and the sums that reports and quota counters ask for.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::base::clock::Timestamp;
use crate::base::money::Money;
use crate::base::store_future::StoreFuture;
use crate::domain::limit::{Amounts, LimitKey, Scope};
use crate::domain::record::UsageRecord;
use crate::store::error::StoreResult;
use crate::store::ledger::{GroupBy, PostedQuery, RecordFilter, UsageRow, UsageSink, UsageStore};
use crate::store::sql::UNITS;
use crate::store::tables::{Page, PageOf};

use super::columns::{read_record, read_usage, select_records};
use super::tables::bad_cursor;
use super::writer::{Look, failing_now};
use super::{SqliteStore, nanos, query};

impl UsageSink for SqliteStore {
    fn open(&self, record: &UsageRecord) -> StoreFuture<StoreResult<()>> {
        if self.0.durable && self.0.writer.is_failing() {
            return StoreFuture::ready(Err(failing_now()));
        }
        self.0.writer.record(record, self.0.durable)
    }

    fn record(&self, record: UsageRecord) -> StoreFuture<StoreResult<()>> {
        self.0.writer.record(&record, self.0.durable)
    }
}

impl UsageStore for SqliteStore {
    fn records(&self, filter: RecordFilter, page: Page) -> StoreFuture<StoreResult<PageOf<UsageRecord>>> {
        self.0.writer.show(Look::Running);
        self.0.readers.run(move |connection| {
            let mut condition = Condition::of(&filter);
            if let Some(cursor) = page.after.as_deref().map(Cursor::parse).transpose()? {
                condition.sql.push_str(" AND (time, seq) < (?, ?)");
                condition.values.extend([cursor.time.into(), cursor.seq.into()]);
            }
            let limit = page.limit.saturating_add(1);
            let sql = select_records(&format!("WHERE {} ORDER BY time DESC, seq DESC LIMIT {limit}", condition.sql));
            let mut rows = query(connection, &sql, params_from_iter(condition.values), read_record)?;
            let more = rows.len() > page.limit;
            rows.truncate(page.limit);
            let next = rows.last().filter(|_| more).map(|(record, seq)| format!("{}-{seq}", nanos(record.time)));
            Ok(PageOf { items: rows.into_iter().map(|(record, _)| record).collect(), next })
        })
    }

    fn usage(&self, filter: RecordFilter, by: Vec<GroupBy>) -> StoreFuture<StoreResult<Vec<UsageRow>>> {
        self.0.writer.show(Look::Running);
        self.0.readers.run(move |connection| usage(connection, &filter, &by))
    }

    fn posted(&self, wanted: PostedQuery) -> StoreFuture<StoreResult<Vec<(Timestamp, Amounts)>>> {
        self.0.writer.show(Look::Ended);
        let writer = self.0.writer.handle();
        self.0.readers.run(move |connection| match writer.is_failing() {
            // A counter would start from it, and stay too low when the rows are there.
            true => Err(failing_now()),
            false => posted(connection, &wanted),
        })
    }
}

/// Where a page of records ended.
struct Cursor {
    time: i64,
    seq: i64,
}

impl Cursor {
    fn parse(text: &str) -> StoreResult<Self> {
        let read = text
            .split_once('-')
            .and_then(|(time, seq)| Some(Self { time: time.parse().ok()?, seq: seq.parse().ok()? }));
        read.ok_or_else(bad_cursor)
    }
}

/// A `WHERE` in the making: its text and what is bound to its question marks.
struct Condition {
    sql: String,
    values: Vec<Value>,
}

impl Condition {
    fn of(filter: &RecordFilter) -> Self {
        let mut condition = Self { sql: "1".to_owned(), values: Vec::new() };
        for (column, wanted) in [
            ("workspace = ?", &filter.workspace),
            ("project = ?", &filter.project),
            ("team = ?", &filter.team),
            ("environment = ?", &filter.environment),
            ("key_id = ?", &filter.key),
            ("model = ?", &filter.model),
            ("outcome = ?", &filter.outcome),
            ("id = ?", &filter.id),
            ("request_id = ?", &filter.request_id),
        ] {
            condition.and(column, wanted.clone());
        }
        condition.and("status = ?", filter.status.map(i64::from));
        condition.and("time >= ?", filter.from.map(nanos));
        condition.and("time < ?", filter.to.map(nanos));
        condition
    }

    fn of_limit(key: &LimitKey, from: Timestamp) -> Self {
        let mut condition = Self {
            sql: "outcome IS NOT NULL AND outcome <> 'refused' AND held IS NULL".to_owned(),
            values: Vec::new(),
        };
        let (columns, names): (&[&str], Vec<String>) = match &key.scope {
            Scope::Workspace(w) => (&["workspace"], vec![w.to_string()]),
            Scope::Team(w, t) => (&["workspace", "team"], vec![w.to_string(), t.to_string()]),
            Scope::Project(w, p) => (&["workspace", "project"], vec![w.to_string(), p.to_string()]),
            Scope::Environment(w, p, e) => {
                (&["workspace", "project", "environment"], vec![w.to_string(), p.to_string(), e.to_string()])
            }
            Scope::Key(id) => (&["key_id"], vec![id.to_string()]),
        };
        for (column, name) in columns.iter().zip(names) {
            condition.and(&format!("{column} = ?"), Some(name));
        }
        condition.and("modality = ?", key.modality.map(|m| m.as_str().to_owned()));
        condition.and("model = ?", key.model.as_deref().map(str::to_owned));
        condition.and("time >= ?", Some(nanos(from)).filter(|n| *n > 0));
        condition
    }

    fn and(&mut self, term: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.sql.push_str(" AND ");
            self.sql.push_str(term);
            self.values.push(value.into());
        }
    }
}

fn usage(connection: &Connection, filter: &RecordFilter, by: &[GroupBy]) -> StoreResult<Vec<UsageRow>> {
    let groups: Vec<_> = by.iter().map(|g| column(*g)).collect();
    let sums: Vec<_> = UNITS.iter().map(|u| format!("coalesce(sum({u}), 0)")).collect();
    let condition = Condition::of(filter);
    let mut sql = format!(
        "SELECT {}{}, count(*), coalesce(sum(outcome NOT IN ('completed', 'client_closed')), 0), \
         coalesce(sum(cost), 0) FROM ledger WHERE {}",
        groups.iter().map(|g| format!("{g}, ")).collect::<String>(),
        sums.join(", "),
        condition.sql
    );
    if !groups.is_empty() {
        let places: Vec<_> = (1..=groups.len()).map(|n| n.to_string()).collect();
        sql.push_str(&format!(" GROUP BY {0} ORDER BY {0}", places.join(", ")));
    }
    let first = groups.len();
    let rows = query(connection, &sql, params_from_iter(condition.values), |row| {
        let count = |n: usize| row.get::<_, i64>(n).map(|n| n.max(0) as u64);
        Ok(UsageRow {
            group: (0..first).map(|n| row.get(n)).collect::<Result<_, _>>()?,
            usage: read_usage(row, first)?,
            requests: count(first + UNITS.len())?,
            errors: count(first + UNITS.len() + 1)?,
            cost: Money::from_nanos(count(first + UNITS.len() + 2)?),
        })
    })?;
    Ok(rows.into_iter().filter(|row| row.requests > 0).collect())
}

fn column(group: GroupBy) -> &'static str {
    match group {
        GroupBy::Day => "strftime('%Y-%m-%d', time / 1000000000, 'unixepoch')",
        GroupBy::Workspace => "workspace",
        GroupBy::Project => "project",
        GroupBy::Team => "team",
        GroupBy::Environment => "environment",
        GroupBy::Key => "key_id",
        GroupBy::Model => "model",
        GroupBy::Provider => "provider",
        GroupBy::Modality => "modality",
    }
}

fn posted(connection: &Connection, wanted: &PostedQuery) -> StoreResult<Vec<(Timestamp, Amounts)>> {
    const COUNTED: [&str; 7] =
        ["input_tokens", "output_tokens", "images", "video_seconds", "audio_seconds", "characters", "cost"];
    let condition = Condition::of_limit(&wanted.key, wanted.from);
    let sql = if wanted.each {
        format!("SELECT time, 1, {} FROM ledger WHERE {} ORDER BY time", COUNTED.join(", "), condition.sql)
    } else {
        let sums = COUNTED.map(|c| format!("coalesce(sum({c}), 0)"));
        format!("SELECT coalesce(max(time), 0), count(*), {} FROM ledger WHERE {}", sums.join(", "), condition.sql)
    };
    let rows = query(connection, &sql, params_from_iter(condition.values), |row| {
        let count = |n: usize| row.get::<_, i64>(n).map(|n| n.max(0) as u64);
        let amounts = Amounts {
            requests: count(1)?,
            input_tokens: count(2)?,
            output_tokens: count(3)?,
            images: count(4)?,
            video_seconds: count(5)?,
            audio_seconds: count(6)?,
            characters: count(7)?,
            spend: Money::from_nanos(count(8)?),
        };
        Ok((Timestamp::from_nanos(count(0)?), amounts))
    })?;
    Ok(rows.into_iter().filter(|(_, amounts)| amounts.requests > 0).collect())
}
