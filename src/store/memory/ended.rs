//! The records that have ended and are kept: by their ids, and in the order of their arrival.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault};
use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashTable;

use crate::base::clock::Timestamp;
use crate::base::hash::QuickHasher;
use crate::domain::record::UsageRecord;

use super::kept::Kept;
use super::rollup::Line;
use super::slab::Slab;

/// Where a record stands: by arrival, then in the order of coming in.
pub(super) type Place = (Timestamp, u64);

/// Each record stands once, in the slab: the order would move it about, and the table of ids need not repeat its id.
pub(super) struct Ended {
    records: Slab<Kept>,
    order: BTreeMap<Place, usize>,
    ids: HashTable<usize>,
    /// Where a record is written before it is known how long it is.
    room: Vec<u8>,
}

impl Ended {
    pub(super) fn new() -> Self {
        Self { records: Slab::new(), order: BTreeMap::new(), ids: HashTable::new(), room: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn has(&self, id: &[u8]) -> bool {
        self.ids.find(hash(id), |at| self.is(*at, id)).is_some()
    }

    /// Takes in one that it has not.
    pub(super) fn insert(&mut self, place: Place, record: &UsageRecord, line: Arc<Line>) {
        let at = self.records.insert(Kept::new(record, line, &mut self.room));
        let records = &self.records;
        self.ids.insert_unique(hash(record.id.as_bytes()), at, |at| records.get(*at).map_or(0, |kept| hash(kept.id())));
        self.order.insert(place, at);
    }

    /// Gives out the one that arrived first.
    pub(super) fn pop_first(&mut self) -> Option<(Place, Kept)> {
        let (place, at) = self.order.pop_first()?;
        let record = self.records.remove(at)?;
        if let Ok(entry) = self.ids.find_entry(hash(record.id()), |other| *other == at) {
            entry.remove();
        }
        Some((place, record))
    }

    /// When the one arrived that arrived first.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.order.keys().next().map(|(time, _)| *time)
    }

    pub(super) fn range(&self, places: Range<Place>) -> impl DoubleEndedIterator<Item = (Place, UsageRecord)> {
        let record = |(place, at): (&Place, &usize)| Some((*place, self.records.get(*at)?.record(place.0)?));
        self.order.range(places).filter_map(record)
    }

    fn is(&self, at: usize, id: &[u8]) -> bool {
        self.records.get(at).is_some_and(|kept| kept.id() == id)
    }
}

fn hash(id: &[u8]) -> u64 {
    BuildHasherDefault::<QuickHasher>::default().hash_one(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::ledger::record;

    fn insert(ended: &mut Ended, id: &str, second: u64) {
        let record = record(id, Timestamp::from_secs(second));
        ended.insert((record.time, 0), &record, Arc::new(Line::of(&record)));
    }

    #[test]
    fn what_was_given_out_is_known_no_more_and_its_place_is_taken_by_another() {
        let mut ended = Ended::new();
        for n in (0..1_000).rev() {
            insert(&mut ended, &n.to_string(), n);
        }
        for n in 0..500 {
            let (place, first) = ended.pop_first().unwrap();
            assert_eq!((place.0, first.id()), (Timestamp::from_secs(n), n.to_string().as_bytes()));
        }
        for n in 1_000..1_500 {
            insert(&mut ended, &n.to_string(), n);
        }
        let known: Vec<_> = (0..1_500).filter(|n| ended.has(n.to_string().as_bytes())).collect();
        assert_eq!((known, ended.len()), ((500..1_500).collect(), 1_000));
        assert_eq!((ended.first(), ended.records.span()), (Some(Timestamp::from_secs(500)), 1_000));
    }
}
