//! A record as the ledger in memory keeps it: what many have in common stands there once, the rest as bytes.

use std::sync::Arc;

use crate::base::clock::Timestamp;
use crate::base::money::Money;
use crate::domain::endpoint::Endpoint;
use crate::domain::record::{Outcome, UsageRecord};
use crate::store::units::{amounts, numbers, units, usage};
use crate::store::varint::{push_varint, take_varint};

use super::rollup::Line;

/// A record that has ended.
pub(super) struct Kept {
    line: Arc<Line>,
    row: Row,
}

/// In place where it is short, as nearly all are: no request pays for an allocation here.
enum Row {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

/// With it, a record takes 128 bytes.
const SHORT: usize = 118;

/// What a row says by a bit: a flag, or that the field is there.
mod bit {
    pub(super) const STREAMED: u64 = 1;
    pub(super) const ESTIMATED: u64 = 1 << 1;
    pub(super) const UPSTREAM_REQUEST_ID: u64 = 1 << 2;
    pub(super) const CODE: u64 = 1 << 3;
    pub(super) const STATUS: u64 = 1 << 4;
    pub(super) const LATENCY: u64 = 1 << 5;
    pub(super) const FIRST_BYTE: u64 = 1 << 6;
    pub(super) const HELD: u64 = 1 << 7;
}

impl Kept {
    /// What `room` holds is overwritten.
    pub(super) fn new(record: &UsageRecord, line: Arc<Line>, room: &mut Vec<u8>) -> Self {
        room.clear();
        write(record, &mut Writing(room));
        Self { line, row: Row::new(room) }
    }

    pub(super) fn id(&self) -> &[u8] {
        Reading(self.row.bytes()).text().unwrap_or_default()
    }

    /// The record again, which came in at `time`.
    pub(super) fn record(&self, time: Timestamp) -> Option<UsageRecord> {
        read(&mut Reading(self.row.bytes()), &self.line, time)
    }
}

impl Row {
    fn new(row: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..row.len()), u8::try_from(row.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(row);
                Self::Short { length, bytes }
            }
            _ => Self::Long(row.into()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Self::Long(bytes) => bytes,
        }
    }
}

/// The id goes first: [`Kept::id`] looks for it there.
fn write(record: &UsageRecord, out: &mut Writing<'_>) {
    out.text(&record.id);
    out.text(&record.request_id);
    out.endpoint(&record.endpoint);
    let flag = |is_set, bit| if is_set { bit } else { 0 };
    out.number(
        flag(record.streamed, bit::STREAMED)
            | flag(record.estimated, bit::ESTIMATED)
            | flag(record.upstream_request_id.is_some(), bit::UPSTREAM_REQUEST_ID)
            | flag(record.code.is_some(), bit::CODE)
            | flag(record.status.is_some(), bit::STATUS)
            | flag(record.latency_ms.is_some(), bit::LATENCY)
            | flag(record.first_byte_ms.is_some(), bit::FIRST_BYTE)
            | flag(record.held.is_some(), bit::HELD),
    );
    let texts = [&record.upstream_request_id, &record.code];
    texts.into_iter().flatten().for_each(|text| out.text(text));
    let counts = [record.status.map(u64::from), record.latency_ms, record.first_byte_ms];
    counts.into_iter().flatten().for_each(|count| out.number(count));
    // The place of one that runs is behind the last.
    let outcome = Outcome::ALL.iter().position(|outcome| Some(*outcome) == record.outcome);
    out.number(outcome.unwrap_or(Outcome::ALL.len()) as u64);
    out.number(record.cost.as_nanos());
    out.sparse(&units(&record.usage));
    if let Some(held) = record.held {
        out.sparse(&numbers(held));
    }
}

/// In the order of [`write`]. `None` where a row does not say what it should.
fn read(row: &mut Reading<'_>, line: &Line, time: Timestamp) -> Option<UsageRecord> {
    let Line { home, key_id, model, provider, modality, upstream_model } = line;
    let (id, request_id, endpoint) = (row.string()?.into(), row.string()?.into(), row.endpoint()?);
    let bits = row.number()?;
    let has = |bit| bits & bit != 0;
    Some(UsageRecord {
        id,
        request_id,
        time,
        home: Arc::clone(home),
        key_id: Arc::clone(key_id),
        endpoint,
        modality: *modality,
        model: model.clone(),
        provider: provider.clone(),
        upstream_model: upstream_model.clone(),
        streamed: has(bit::STREAMED),
        estimated: has(bit::ESTIMATED),
        upstream_request_id: row.text_if(has(bit::UPSTREAM_REQUEST_ID))?,
        code: row.text_if(has(bit::CODE))?,
        status: row.number_if(has(bit::STATUS))?.and_then(|status| u16::try_from(status).ok()),
        latency_ms: row.number_if(has(bit::LATENCY))?,
        first_byte_ms: row.number_if(has(bit::FIRST_BYTE))?,
        outcome: Outcome::ALL.get(usize::try_from(row.number()?).ok()?).copied(),
        cost: Money::from_nanos(row.number()?),
        usage: usage(row.sparse()?),
        held: if has(bit::HELD) { Some(amounts(row.sparse()?)) } else { None },
    })
}

struct Writing<'a>(&'a mut Vec<u8>);

impl Writing<'_> {
    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    /// One of the model routes by its place among them, any other as its path.
    fn endpoint(&mut self, path: &str) {
        match Endpoint::ALL.iter().position(|endpoint| endpoint.path() == path) {
            Some(at) => self.number(at as u64 + 1),
            None => {
                self.number(0);
                self.text(path);
            }
        }
    }

    fn number(&mut self, number: u64) {
        push_varint(self.0, number);
    }

    /// Numbers of which most are nothing: a bit for each that is something, and then those.
    fn sparse(&mut self, numbers: &[u64]) {
        let there = numbers.iter().enumerate().filter(|(_, number)| **number != 0);
        self.number(there.clone().fold(0, |bits, (n, _)| bits | 1 << n));
        there.for_each(|(_, number)| self.number(*number));
    }
}

struct Reading<'a>(&'a [u8]);

impl<'a> Reading<'a> {
    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    fn string(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.text()?).ok()
    }

    fn endpoint(&mut self) -> Option<Arc<str>> {
        match usize::try_from(self.number()?).ok()?.checked_sub(1) {
            Some(at) => Endpoint::ALL.get(at).map(|endpoint| endpoint.shared_path()),
            None => self.string().map(Into::into),
        }
    }

    fn text_if(&mut self, is_there: bool) -> Option<Option<Arc<str>>> {
        if is_there { self.string().map(|text| Some(text.into())) } else { Some(None) }
    }

    fn number(&mut self) -> Option<u64> {
        take_varint(&mut self.0)
    }

    fn number_if(&mut self, is_there: bool) -> Option<Option<u64>> {
        if is_there { self.number().map(Some) } else { Some(None) }
    }

    fn sparse<const N: usize>(&mut self) -> Option<[u64; N]> {
        let (bits, mut numbers) = (self.number()?, [0; N]);
        for (_, number) in numbers.iter_mut().enumerate().filter(|(n, _)| bits >> n & 1 == 1) {
            *number = self.number()?;
        }
        Some(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::limit::Amounts;
    use crate::domain::usage::Usage;
    use crate::store::contract::ledger::{NOON, record};

    #[test]
    fn a_record_comes_out_as_it_went_in() {
        assert_eq!(size_of::<Option<Kept>>(), 128);
        let plain = record("a", NOON);
        let bare = UsageRecord {
            status: None,
            latency_ms: None,
            upstream_model: None,
            upstream_request_id: None,
            outcome: None,
            endpoint: Endpoint::Speech.shared_path(),
            ..plain.clone()
        };
        let large = Usage { input_tokens: u64::MAX, videos: 300, ..plain.usage };
        let odd = UsageRecord {
            held: Some(Amounts { characters: 128, ..Amounts::ONE_REQUEST }),
            code: Some("".into()),
            first_byte_ms: Some(u64::MAX),
            streamed: true,
            estimated: true,
            outcome: Some(Outcome::UnknownAfterCrash),
            ..record(&"é".repeat(500), NOON)
        };
        let with = |usage| UsageRecord { usage, ..plain.clone() };
        let mut room = Vec::new();
        for record in [with(large), with(Usage::NONE), odd, bare, plain.clone()] {
            let kept = Kept::new(&record, Arc::new(Line::of(&record)), &mut room);
            assert_eq!(kept.id(), record.id.as_bytes());
            assert_eq!(kept.record(NOON), Some(record));
        }
    }
}
