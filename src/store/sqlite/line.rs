//! A record on its way to its row: the values of its columns one after the other, as bytes.
//!
//! What crosses threads is these bytes and not the record, whose many shared parts would be counted twice from another
//! thread; and they are written down as they are.

use rusqlite::types::ValueRef;

use crate::domain::limit::Amounts;
use crate::domain::name::Name;
use crate::domain::record::{Outcome, UsageRecord};
use crate::store::sql::signed;
use crate::store::units::{amounts, numbers, units};
use crate::store::varint::{push_varint, take_varint};

/// How a value begins; a text by its length and [`TEXT`].
const NULL: u64 = 0;
const ZERO: u64 = 1;
const NUMBER: u64 = 2;
const TEXT: u64 = 3;

/// The length of the values, and whether the record has ended.
const HEAD: usize = 5;

/// Adds a record's line to others.
pub(super) fn push(record: &UsageRecord, lines: &mut Vec<u8>) {
    let start = lines.len();
    lines.extend([0; HEAD]);
    write_values(record, &mut Writing(lines));
    let length = u32::try_from(lines.len() - start - HEAD).unwrap_or_default();
    if let Some((head, ended)) = lines.get_mut(start..).and_then(<[u8]>::split_first_chunk_mut) {
        *head = length.to_le_bytes();
        ended[0] = u8::from(record.outcome.is_some());
    }
}

/// In the order of the ledger's columns; what is held is its numbers.
fn write_values(record: &UsageRecord, out: &mut Writing<'_>) {
    let home = &record.home;
    out.text(&record.id);
    out.text(&record.request_id);
    out.number(record.time.as_nanos());
    out.text(home.workspace.as_str());
    out.text(home.project.as_str());
    out.maybe_text(home.team.as_ref().map(Name::as_str));
    out.maybe_text(home.environment.as_ref().map(Name::as_str));
    out.text(&record.key_id);
    out.text(&record.endpoint);
    out.maybe_text(record.modality.map(|m| m.as_str()));
    for text in [&record.model, &record.provider, &record.upstream_model, &record.upstream_request_id] {
        out.maybe_text(text.as_deref());
    }
    out.maybe_number(record.status.map(u64::from));
    out.maybe_text(record.code.as_deref());
    out.maybe_text(record.outcome.map(Outcome::as_str));
    out.number(record.streamed.into());
    out.maybe_number(record.latency_ms);
    out.maybe_number(record.first_byte_ms);
    units(&record.usage).into_iter().for_each(|count| out.number(count));
    out.number(record.estimated.into());
    out.number(record.cost.as_nanos());
    if let Some(held) = record.held {
        numbers(held).into_iter().for_each(|amount| out.number(amount));
    }
}

struct Writing<'a>(&'a mut Vec<u8>);

impl Writing<'_> {
    fn text(&mut self, text: &str) {
        push_varint(self.0, TEXT + text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        match number {
            0 => push_varint(self.0, ZERO),
            _ => {
                push_varint(self.0, NUMBER);
                push_varint(self.0, number);
            }
        }
    }

    fn maybe_text(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => push_varint(self.0, NULL),
        }
    }

    fn maybe_number(&mut self, number: Option<u64>) {
        match number {
            Some(number) => self.number(number),
            None => push_varint(self.0, NULL),
        }
    }
}

/// The line of one record.
#[derive(Clone, Copy)]
pub(super) struct Line<'a>(&'a [u8]);

/// The lines in `bytes`, up to a length of nothing.
pub(super) fn lines(mut bytes: &[u8]) -> impl Iterator<Item = Line<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
        let (line, rest) = bytes.split_at_checked(HEAD + length).filter(|_| length > 0)?;
        bytes = rest;
        Some(Line(line))
    })
}

impl<'a> Line<'a> {
    /// As [`lines`] reads it.
    pub(super) fn bytes(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn has_ended(self) -> bool {
        self.0[HEAD - 1] != 0
    }

    pub(super) fn id(self) -> &'a str {
        match self.values().next() {
            Some(ValueRef::Text(id)) => std::str::from_utf8(id).unwrap_or_default(),
            _ => "",
        }
    }

    /// The values of all columns but of what is held.
    pub(super) fn values(self) -> Values<'a> {
        Values(&self.0[HEAD..])
    }
}

/// Values yet to be read.
pub(super) struct Values<'a>(&'a [u8]);

impl Values<'_> {
    /// What is held, where the other columns have been read.
    pub(super) fn held(self) -> Option<Amounts> {
        let mut numbers = [0; 8];
        let mut count = 0;
        for (number, value) in numbers.iter_mut().zip(self) {
            *number = value.as_i64().ok()?.unsigned_abs();
            count += 1;
        }
        (count == numbers.len()).then(|| amounts(numbers))
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = ValueRef<'a>;

    fn next(&mut self) -> Option<ValueRef<'a>> {
        Some(match take_varint(&mut self.0)? {
            NULL => ValueRef::Null,
            ZERO => ValueRef::Integer(0),
            NUMBER => ValueRef::Integer(signed(take_varint(&mut self.0)?)),
            length => {
                let (text, rest) = self.0.split_at_checked(usize::try_from(length - TEXT).ok()?)?;
                self.0 = rest;
                ValueRef::Text(text)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::money::Money;
    use crate::domain::usage::Usage;
    use crate::store::contract::ledger::{NOON, record};

    #[test]
    fn lines_are_told_apart_and_one_that_is_cut_is_none() {
        let mut bytes = Vec::new();
        push(&record("ended", NOON), &mut bytes);
        let first = bytes.len();
        push(&UsageRecord { outcome: None, ..record("runs", NOON) }, &mut bytes);
        let found: Vec<_> = lines(&bytes).map(|line| (line.id(), line.has_ended())).collect();
        assert_eq!(found, [("ended", true), ("runs", false)]);
        for cut in first..bytes.len() {
            assert_eq!(lines(&bytes[..cut]).count(), 1);
        }
        bytes.extend([0; 9]);
        assert_eq!(lines(&bytes).count(), 2, "zeros behind them are no line");
    }

    #[test]
    fn values_come_out_as_they_went_in() {
        let held = Amounts { spend: Money::from_nanos(u64::MAX >> 1), characters: 128, ..Amounts::ONE_REQUEST };
        let usage = Usage { input_tokens: 127, output_tokens: 1 << 62, videos: 300, ..Usage::NONE };
        let odd = UsageRecord { held: Some(held), usage, code: Some("".into()), ..record(&"é".repeat(500), NOON) };
        let mut bytes = Vec::new();
        push(&odd, &mut bytes);
        let line = lines(&bytes).next().unwrap();
        assert_eq!(line.id(), &*odd.id);
        let mut values = line.values();
        let read: Vec<_> = values.by_ref().take(36).collect();
        assert_eq!(values.held(), Some(held));
        assert_eq!(read[2], ValueRef::Integer(NOON.as_nanos() as i64));
        assert_eq!((read[14], read[15]), (ValueRef::Integer(200), ValueRef::Text(b"")));
        let counts: Vec<_> = read[20..34].iter().map(|value| value.as_i64().unwrap()).collect();
        assert_eq!(counts, units(&usage).map(signed));
        assert_eq!((read[34], read[35]), (ValueRef::Integer(0), ValueRef::Integer(7)));
    }
}
