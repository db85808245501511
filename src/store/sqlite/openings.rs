//! Requests that run: all that one transaction opens is one row, until it has ended.
//!
//! A row of the ledger stands in five trees, and most requests end a moment after they were opened. So a request gets its
//! row when it ends; or early, when somebody looks at the ledger, or when it runs for so much longer than others that it
//! would keep their rows here.

use std::collections::VecDeque;
use std::sync::Arc;

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::hash::QuickMap;
use crate::base::money::Money;
use crate::domain::caller::Home;
use crate::domain::limit::Amounts;
use crate::domain::modality::Modality;
use crate::domain::record::UsageRecord;
use crate::domain::usage::Usage;

use super::columns::{Json, write_record};

/// Rows that have ended are deleted so many at a time, while others run.
const TOGETHER: usize = 16;
/// So many records may be kept that have ended, and three times as many as run.
const ENDED: usize = 1_024;

/// What runs and has no row in the ledger.
#[derive(Default)]
pub(super) struct Openings {
    /// The row that each stands in.
    places: QuickMap<Arc<str>, i64>,
    /// In the order of their numbers, without a gap.
    rows: VecDeque<Row>,
    /// Records in all rows.
    kept: usize,
    /// The number of the last row.
    last: i64,
}

struct Row {
    kept: usize,
    running: usize,
}

/// What a transaction does to [`Openings`], once it is committed.
pub(super) struct Change {
    opened: Vec<Arc<str>>,
    ended: Vec<Arc<str>>,
    /// Rows that are gone, from the first.
    gone: usize,
}

impl Openings {
    /// Writes what was opened and what has ended. With `shown`, all that runs gets its row in the ledger.
    pub(super) fn write<'a>(
        &self,
        connection: &Connection,
        records: impl Iterator<Item = &'a UsageRecord>,
        shown: bool,
    ) -> rusqlite::Result<Change> {
        let (mut opened, mut ended) = (Vec::new(), Vec::new());
        for record in records {
            if record.outcome.is_none() {
                opened.push(record);
            } else {
                write_record(connection, record)?;
                ended.push(Arc::clone(&record.id));
            }
        }
        if shown {
            for record in opened.drain(..) {
                write_record(connection, record)?;
            }
        }
        let is_over: QuickMap<&str, ()> = ended.iter().map(|id| (&**id, ())).collect();
        opened.retain(|record| !is_over.contains_key(&*record.id));
        let ending = is_over.keys().filter(|id| self.places.contains_key(**id)).count();
        let are_over = opened.is_empty() && ending == self.places.len();
        drop(is_over);
        if !opened.is_empty() {
            let lines: Vec<_> = opened.iter().map(|record| Line::of(record)).collect();
            let text =
                serde_json::to_string(&lines).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
            let mut insert = connection.prepare_cached("INSERT INTO openings (seq, records) VALUES (?1, ?2)")?;
            insert.execute(params![self.last + 1, text])?;
        }
        let gone = if are_over {
            self.rows.len()
        } else if shown {
            self.give_rows(connection, self.rows.len(), &mut ended)?
        } else {
            let over = self.rows.iter().take_while(|row| row.running == 0).count();
            let over = if over < TOGETHER { 0 } else { over };
            self.give_rows(connection, over.max(self.surplus()), &mut ended)?
        };
        if gone > 0 {
            let mut delete = connection.prepare_cached("DELETE FROM openings WHERE seq <= ?1")?;
            delete.execute([self.number(gone - 1)])?;
        }
        Ok(Change { opened: opened.iter().map(|record| Arc::clone(&record.id)).collect(), ended, gone })
    }

    /// How many rows are to go, so that no more is kept than the bounds allow.
    fn surplus(&self) -> usize {
        let mut excess = self.kept.saturating_sub(ENDED + 4 * self.places.len());
        let goes = |row: &&Row| {
            let goes = excess > 0;
            excess = excess.saturating_sub(row.kept);
            goes
        };
        self.rows.iter().take_while(goes).count()
    }

    /// Gives what still runs of the first `rows` a row in the ledger.
    fn give_rows(&self, connection: &Connection, rows: usize, ended: &mut Vec<Arc<str>>) -> rusqlite::Result<usize> {
        for at in (0..rows).filter(|at| self.rows[*at].running > 0) {
            let number = self.number(at);
            for record in read(connection, number)? {
                if self.places.get(&record.id) == Some(&number) {
                    write_record(connection, &record)?;
                    ended.push(record.id);
                }
            }
        }
        Ok(rows)
    }

    /// Takes in what has been committed.
    pub(super) fn committed(&mut self, change: Change) {
        if !change.opened.is_empty() {
            self.last += 1;
            self.kept += change.opened.len();
            self.rows.push_back(Row { kept: change.opened.len(), running: change.opened.len() });
            for id in change.opened {
                let before = self.places.insert(id, self.last);
                self.end(before);
            }
        }
        for id in change.ended {
            let place = self.places.remove(&id);
            self.end(place);
        }
        for row in self.rows.drain(..change.gone) {
            self.kept -= row.kept;
        }
    }

    fn end(&mut self, place: Option<i64>) {
        let first = self.number(0);
        let row = place.and_then(|number| self.rows.get_mut(usize::try_from(number - first).ok()?));
        if let Some(row) = row {
            row.running -= 1;
        }
    }

    /// The number of the row that stands at `at`.
    fn number(&self, at: usize) -> i64 {
        self.last + 1 - self.rows.len() as i64 + at as i64
    }
}

/// Gives everything that a process before this one left behind its row in the ledger; what has ended has one.
pub(super) fn recover(connection: &Connection) -> rusqlite::Result<()> {
    let mut numbers = connection.prepare("SELECT seq FROM openings ORDER BY seq")?;
    for number in numbers.query_map([], |row| row.get(0))? {
        for record in read(connection, number?)? {
            write_record(connection, &record)?;
        }
    }
    connection.execute("DELETE FROM openings", []).map(drop)
}

fn read(connection: &Connection, number: i64) -> rusqlite::Result<Vec<UsageRecord>> {
    let mut select = connection.prepare_cached("SELECT records FROM openings WHERE seq = ?1")?;
    let Json(lines) = select.query_row([number], |row| row.get::<_, Json<Vec<Line>>>(0))?;
    Ok(lines.into_iter().map(Line::record).collect())
}

/// A record that runs, as it is kept: an array, for the sake of its length.
#[derive(Serialize, Deserialize)]
struct Line(Who, What, Told, Sums);

type Who = (Arc<str>, Arc<str>, u64, Home, Arc<str>, Arc<str>);
type What = (Option<Modality>, Option<Arc<str>>, Option<Arc<str>>, Option<Arc<str>>, Option<Arc<str>>);
type Told = (Option<u16>, Option<Arc<str>>, bool, Option<u64>, Option<u64>);
type Sums = (Option<Usage>, bool, Money, Option<[u64; 8]>);

impl Line {
    fn of(record: &UsageRecord) -> Self {
        let r = record.clone();
        let usage = Some(r.usage).filter(|usage| *usage != Usage::NONE);
        Self(
            (r.id, r.request_id, r.time.as_nanos(), r.home, r.key_id, r.endpoint),
            (r.modality, r.model, r.provider, r.upstream_model, r.upstream_request_id),
            (r.status, r.code, r.streamed, r.latency_ms, r.first_byte_ms),
            (usage, r.estimated, r.cost, r.held.map(numbers)),
        )
    }

    fn record(self) -> UsageRecord {
        let Self(who, what, told, sums) = self;
        let (id, request_id, time, home, key_id, endpoint) = who;
        let (modality, model, provider, upstream_model, upstream_request_id) = what;
        let (status, code, streamed, latency_ms, first_byte_ms) = told;
        let (usage, estimated, cost, held) = sums;
        UsageRecord {
            id,
            request_id,
            time: Timestamp::from_nanos(time),
            home,
            key_id,
            endpoint,
            modality,
            model,
            provider,
            upstream_model,
            upstream_request_id,
            status,
            code,
            outcome: None,
            streamed,
            latency_ms,
            first_byte_ms,
            usage: usage.unwrap_or_default(),
            estimated,
            cost,
            held: held.map(amounts),
        }
    }
}

fn numbers(amounts: Amounts) -> [u64; 8] {
    let Amounts { requests, input_tokens, output_tokens, spend, images, video_seconds, audio_seconds, characters } =
        amounts;
    [requests, input_tokens, output_tokens, spend.as_nanos(), images, video_seconds, audio_seconds, characters]
}

fn amounts(numbers: [u64; 8]) -> Amounts {
    let [requests, input_tokens, output_tokens, spend, images, video_seconds, audio_seconds, characters] = numbers;
    let spend = Money::from_nanos(spend);
    Amounts { requests, input_tokens, output_tokens, spend, images, video_seconds, audio_seconds, characters }
}
