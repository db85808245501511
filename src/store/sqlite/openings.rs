//! Requests that run: what one transaction opens shares a row, until all of it has ended.
//!
//! A row of the ledger stands in five trees, and most requests end a moment after they were opened. So a request gets its
//! row when it ends; or early, when somebody looks at the ledger, or when it runs for so much longer than others that it
//! would keep too many rows here from being used again.

use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::Error::ToSqlConversionFailure;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::hash::QuickMap;
use crate::base::money::Money;
use crate::base::short_id::Id;
use crate::domain::caller::Home;
use crate::domain::limit::Amounts;
use crate::domain::modality::Modality;
use crate::domain::record::UsageRecord;
use crate::domain::usage::Usage;

use super::columns::{Json, write_record};

/// The length of a row, in bytes: it fills its page, and is written over in place.
const LENGTH: usize = 4_000;
/// So many rows may be in use, and one more for each four requests that run.
const ROWS: usize = 64;

/// What runs and has no row in the ledger.
#[derive(Default)]
pub(super) struct Openings {
    /// The row that each stands in.
    places: QuickMap<Id, usize>,
    /// How many still run of each row. One of which none does is free.
    rows: Vec<usize>,
}

/// What a transaction does to [`Openings`], once it is committed.
#[derive(Default)]
pub(super) struct Change {
    opened: Vec<(Id, usize)>,
    ended: Vec<Id>,
    are_gone: bool,
}

impl Openings {
    /// Writes what was opened and what has ended. With `shown`, all that runs gets its row in the ledger.
    pub(super) fn write<'a>(
        &self,
        connection: &Connection,
        records: impl Iterator<Item = &'a UsageRecord>,
        shown: bool,
    ) -> rusqlite::Result<Change> {
        let (mut opened, mut change) = (Vec::new(), Change::default());
        for record in records {
            if record.outcome.is_some() || shown {
                write_record(connection, record)?;
                change.ended.push(record.id.clone());
            } else {
                opened.push(record);
            }
        }
        if !opened.is_empty() {
            let over: HashSet<&str> = change.ended.iter().map(|id| &**id).collect();
            opened.retain(|record| !over.contains(&*record.id));
        }
        let in_use = self.rows.iter().filter(|running| **running > 0).count();
        let bound = if shown { 0 } else { ROWS + self.places.len() / 4 };
        self.give_rows(connection, in_use.saturating_sub(bound), &mut change.ended)?;
        self.keep(connection, &opened, &mut change.opened)?;
        change.are_gone = opened.is_empty() && !self.rows.is_empty() && self.are_all(&change.ended);
        if change.are_gone {
            connection.prepare_cached("DELETE FROM openings")?.execute([])?;
        }
        Ok(change)
    }

    /// Writes what was opened into free rows.
    fn keep(
        &self,
        connection: &Connection,
        records: &[&UsageRecord],
        opened: &mut Vec<(Id, usize)>,
    ) -> rusqlite::Result<()> {
        let free = (0..).filter(|number| self.rows.get(*number).is_none_or(|running| *running == 0));
        let mut write = connection.prepare_cached("REPLACE INTO openings (number, records) VALUES (?1, ?2)")?;
        let mut records = records.iter().peekable();
        for number in free {
            if records.peek().is_none() {
                break;
            }
            let mut text = String::with_capacity(LENGTH);
            text.push('[');
            while let Some(record) = records.peek() {
                let line = serde_json::to_string(&Line::of(record)).map_err(|e| ToSqlConversionFailure(Box::new(e)))?;
                let comma = if text.len() > 1 { "," } else { "" };
                if text.len() > 1 && text.len() + line.len() + 2 > LENGTH {
                    break;
                }
                text.extend([comma, &line]);
                opened.push((record.id.clone(), number));
                records.next();
            }
            text.push(']');
            text.extend(std::iter::repeat_n(' ', LENGTH.saturating_sub(text.len())));
            write.execute(params![number as i64, text])?;
        }
        Ok(())
    }

    /// Frees so many rows, those first of which the least runs: what does gets its own in the ledger.
    fn give_rows(&self, connection: &Connection, count: usize, ended: &mut Vec<Id>) -> rusqlite::Result<()> {
        if count == 0 {
            return Ok(());
        }
        let mut rows: Vec<_> = (0..self.rows.len()).filter(|number| self.rows[*number] > 0).collect();
        rows.sort_by_key(|number| self.rows[*number]);
        for number in rows.into_iter().take(count) {
            for record in read(connection, number as i64)? {
                if self.places.get(&record.id) == Some(&number) {
                    write_record(connection, &record)?;
                    ended.push(record.id);
                }
            }
        }
        Ok(())
    }

    /// Whether nothing runs but these.
    fn are_all(&self, ended: &[Id]) -> bool {
        ended.len() >= self.places.len() && {
            let ended: HashSet<&Id> = ended.iter().collect();
            self.places.keys().all(|id| ended.contains(id))
        }
    }

    /// Takes in what has been committed.
    pub(super) fn committed(&mut self, change: Change) {
        for (id, number) in change.opened {
            if number >= self.rows.len() {
                self.rows.resize(number + 1, 0);
            }
            self.rows[number] += 1;
            let before = self.places.insert(id, number);
            self.end(before);
        }
        for id in change.ended {
            let place = self.places.remove(&id);
            self.end(place);
        }
        if change.are_gone {
            self.rows.clear();
        }
    }

    fn end(&mut self, place: Option<usize>) {
        if let Some(running) = place.and_then(|number| self.rows.get_mut(number)) {
            *running -= 1;
        }
    }
}

/// Gives everything that a process before this one left behind its row in the ledger; what has ended has one.
pub(super) fn recover(connection: &Connection) -> rusqlite::Result<()> {
    let mut select = connection.prepare("SELECT number FROM openings ORDER BY number")?;
    let numbers: Vec<i64> = select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for number in numbers {
        for record in read(connection, number)? {
            write_record(connection, &record)?;
        }
    }
    connection.execute("DELETE FROM openings", []).map(drop)
}

fn read(connection: &Connection, number: i64) -> rusqlite::Result<Vec<UsageRecord>> {
    let mut select = connection.prepare_cached("SELECT records FROM openings WHERE number = ?1")?;
    let Json(lines) = select.query_row([number], |row| row.get::<_, Json<Vec<Line>>>(0))?;
    Ok(lines.into_iter().map(Line::record).collect())
}

/// A record that runs, as it is kept: an array, for the sake of its length.
#[derive(Serialize, Deserialize)]
struct Line(Who, What, Told, Sums);

type Who = (Id, Id, u64, Arc<Home>, Arc<str>, Arc<str>);
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
