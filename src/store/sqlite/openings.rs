//! Requests that run for so long that the log starts again meanwhile: they share rows, each until all of it has ended.
//!
//! A row of the ledger stands in five trees. So a request gets its own when it has ended; or early, when somebody looks at
//! the ledger, or when it runs for so much longer than others that it would keep too many rows here from being used again.

use std::collections::HashSet;

use rusqlite::{Connection, params};

use crate::base::hash::{QuickMap, QuickSet};
use crate::base::short_id::Id;

use super::columns::{insert, write_line};
use super::line::{Line, lines};

/// The length of a row, in bytes: it fills its page, and is written over in place.
const LENGTH: usize = 4_000;
/// So many rows may be in use, and one more for each four requests that run.
const ROWS: usize = 64;

/// What runs, has no row in the ledger and is not in the log.
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
        lines: impl Iterator<Item = Line<'a>>,
        shown: bool,
    ) -> rusqlite::Result<Change> {
        let (mut opened, mut ended, mut change) = (Vec::new(), QuickSet::default(), Change::default());
        let mut insert = insert(connection)?;
        for line in lines {
            if line.has_ended() || shown {
                write_line(&mut insert, line)?;
                ended.insert(line.id());
            } else {
                opened.push(line);
            }
        }
        opened.retain(|line| !ended.contains(line.id()));
        if !self.places.is_empty() {
            let known = ended.into_iter().filter(|id| self.places.contains_key(id.as_bytes()));
            change.ended.extend(known.map(Id::from));
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
    fn keep(&self, connection: &Connection, lines: &[Line<'_>], opened: &mut Vec<(Id, usize)>) -> rusqlite::Result<()> {
        let free = (0..).filter(|number| self.rows.get(*number).is_none_or(|running| *running == 0));
        let mut write = connection.prepare_cached("REPLACE INTO openings (number, lines) VALUES (?1, ?2)")?;
        let mut lines = lines.iter().peekable();
        for number in free {
            if lines.peek().is_none() {
                break;
            }
            let mut row = Vec::with_capacity(LENGTH);
            while let Some(line) = lines.next_if(|line| row.is_empty() || row.len() + line.bytes().len() <= LENGTH) {
                row.extend_from_slice(line.bytes());
                opened.push((line.id().into(), number));
            }
            row.resize(row.len().max(LENGTH), 0);
            write.execute(params![number as i64, row])?;
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
        let mut insert = insert(connection)?;
        for number in rows.into_iter().take(count) {
            for line in lines(&read(connection, number as i64)?) {
                if self.places.get(line.id().as_bytes()) == Some(&number) {
                    write_line(&mut insert, line)?;
                    ended.push(line.id().into());
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

/// Gives everything that a process before this one left behind its row in the ledger, here and in its log.
pub(super) fn recover<'a>(connection: &Connection, log: impl Iterator<Item = Line<'a>>) -> rusqlite::Result<()> {
    let mut select = connection.prepare("SELECT number FROM openings ORDER BY number")?;
    let numbers: Vec<i64> = select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut insert = insert(connection)?;
    for number in numbers {
        for line in lines(&read(connection, number)?) {
            write_line(&mut insert, line)?;
        }
    }
    for line in log {
        write_line(&mut insert, line)?;
    }
    connection.execute("DELETE FROM openings", []).map(drop)
}

fn read(connection: &Connection, number: i64) -> rusqlite::Result<Vec<u8>> {
    connection.prepare_cached("SELECT lines FROM openings WHERE number = ?1")?.query_row([number], |row| row.get(0))
}
