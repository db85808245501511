//! The ledger in memory.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::clock::Timestamp;
use crate::base::hash::QuickMap;
use crate::base::short_id::Id;
use crate::base::store_future::StoreFuture;
use crate::domain::limit::Amounts;
use crate::domain::record::{Outcome, UsageRecord};
use crate::store::error::{StoreError, StoreErrorKind, StoreResult};
use crate::store::ledger::{GroupBy, PostedQuery, RecordFilter, UsageRow, UsageSink, UsageStore};
use crate::store::tables::{Page, PageOf};

use super::ended::{Ended, Place};
use super::rollup::{DAY, Line, Report, Rollup, Sum, day_of, is, owner_passes};

/// Keeps usage records in this process, and forgets them with it.
///
/// The newest records are kept one by one, by default 4,000 of them, and all that run. Those that fall out stay in the
/// sums: usage and posted amounts of whole UTC days are exact whatever the bound, and with them months and totals. Only
/// what looks closer than a day (a report that starts at noon, the refill of a rate) needs the records themselves.
///
/// ```
/// use std::sync::Arc;
/// use kancy::{MemoryLedger, MeteringLayer};
/// let ledger = Arc::new(MemoryLedger::new().keep(1_000));
/// let layer = MeteringLayer::new(Arc::clone(&ledger));
/// # let _ = layer;
/// ```
pub struct MemoryLedger {
    state: Mutex<State>,
    keep: usize,
}

/// So many ids are remembered of records that came too late to be kept. The books of a video job may be made twice.
const LATE: usize = 256;

struct State {
    /// What runs, by its id. It is replaced when it ends.
    running: QuickMap<Id, (Place, Box<UsageRecord>)>,
    ended: Ended,
    /// The ids of those that ended last among what arrived before all that is kept.
    late: VecDeque<Id>,
    next: u64,
    rollup: Rollup,
}

impl MemoryLedger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self { state: Mutex::new(State::new()), keep: 4_000 }
    }

    /// Keeps so many records one by one.
    #[must_use]
    pub fn keep(mut self, records: usize) -> Self {
        self.keep = records;
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The records behind `after` that pass, newest first, at most `limit`. The lock is let go every so often.
    fn newest(&self, filter: &RecordFilter, mut after: Place, limit: usize) -> Vec<(Place, UsageRecord)> {
        const AT_ONCE: usize = 1_024;
        let from = (filter.from.unwrap_or_default(), 0);
        let mut found = Vec::new();
        let running = self.state().running(filter, from..after);
        while from < after && found.len() < limit {
            let state = self.state();
            let mut seen = 0;
            for (place, record) in state.ended.range(from..after).rev().take(AT_ONCE) {
                seen += 1;
                after = place;
                if passes(&record, filter) {
                    found.push((place, record));
                    if found.len() == limit {
                        break;
                    }
                }
            }
            if seen < AT_ONCE {
                break;
            }
        }
        // One that ended between two looks was seen twice, and stands first as it ended.
        found.extend(running);
        found.sort_by_key(|(place, _)| Reverse(*place));
        found.dedup_by_key(|(place, _)| *place);
        found.truncate(limit);
        found
    }
}

impl Default for MemoryLedger {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn new() -> Self {
        Self {
            running: QuickMap::default(),
            ended: Ended::new(),
            late: VecDeque::new(),
            next: 0,
            rollup: Rollup::default(),
        }
    }

    /// Takes a record in. One that has ended stays as it is: a replay changes nothing.
    fn put(&mut self, record: UsageRecord, keep: usize) {
        if record.outcome.is_none() {
            return self.open(&record);
        }
        let is_twin = !self.late.is_empty() && self.is_late(&record, keep) && self.late.contains(&record.id);
        if is_twin || self.ended.has(record.id.as_bytes()) {
            return;
        }
        let place = match self.running.remove(&record.id) {
            Some((place, _)) => place,
            None => self.place(&record),
        };
        let line = self.rollup.add(&record);
        self.ended.insert(place, &record, line);
        while self.ended.len() > keep {
            let Some((of, _)) = self.ended.pop_first() else { return };
            if of == place {
                self.late.truncate(LATE - 1);
                self.late.push_front(record.id.clone());
            }
        }
    }

    /// Whether a record arrived before all that is kept, and nothing more is.
    fn is_late(&self, record: &UsageRecord, keep: usize) -> bool {
        self.ended.len() >= keep && self.ended.first().is_none_or(|oldest| record.time <= oldest)
    }

    fn open(&mut self, record: &UsageRecord) {
        if self.ended.has(record.id.as_bytes()) {
            return;
        }
        let place = match self.running.get(&record.id) {
            Some((place, _)) => *place,
            None => self.place(record),
        };
        self.running.insert(record.id.clone(), (place, Box::new(record.clone())));
    }

    fn place(&mut self, record: &UsageRecord) -> Place {
        self.next += 1;
        (record.time, self.next)
    }

    /// What runs, passes and stands within `places`, in no order.
    fn running(&self, filter: &RecordFilter, places: Range<Place>) -> Vec<(Place, UsageRecord)> {
        let within = self.running.values().filter(|(place, record)| places.contains(place) && passes(record, filter));
        within.map(|(place, record)| (*place, UsageRecord::clone(record))).collect()
    }

    /// What has ended within `span`.
    fn between(&self, span: &Range<Timestamp>) -> impl Iterator<Item = UsageRecord> {
        let places = (span.start < span.end).then(|| self.ended.range((span.start, 0)..(span.end, 0)));
        places.into_iter().flatten().map(|(_, record)| record)
    }

    /// Adds up what passes `filter`: whole days from the sums, their edges and what runs from the records.
    fn report(&self, filter: &RecordFilter, report: &mut Report) {
        let span = filter.from.unwrap_or_default()..filter.to.unwrap_or(Timestamp::from_nanos(u64::MAX));
        let mut add = |record: &UsageRecord| {
            if passes(record, filter) {
                report.add(day_of(record.time), &Line::of(record), &Sum::of(record));
            }
        };
        self.running.values().for_each(|(_, record)| add(record));
        let closer = filter.status.is_some() || filter.outcome.is_some() || filter.id.is_some();
        if closer || filter.request_id.is_some() {
            self.between(&span).for_each(|record| add(&record));
            return;
        }
        let (days, edges) = split(span);
        edges.iter().flat_map(|edge| self.between(edge)).for_each(|record| add(&record));
        for (day, line, sum) in self.rollup.days(days.start, days.end) {
            if line.passes(filter) {
                report.add(day, line, sum);
            }
        }
    }

    fn posted(&self, query: &PostedQuery) -> Vec<(Timestamp, Amounts)> {
        let span = query.from..Timestamp::from_nanos(u64::MAX);
        let one = |record: UsageRecord| {
            let counts = record.outcome != Some(Outcome::Refused)
                && record.held.is_none()
                && query.key.scope.holds(&record.home, &record.key_id)
                && query.key.matches(record.modality, record.model.as_deref());
            counts.then(|| (record.time, record.amounts()))
        };
        if query.each {
            return self.between(&span).filter_map(one).collect();
        }
        let (days, edges) = split(span);
        let near = edges.iter().flat_map(|edge| self.between(edge)).filter_map(one).map(|(_, amounts)| amounts);
        let whole = self.rollup.days(days.start, days.end);
        let whole = whole.filter(|(_, line, _)| line.counts_for(&query.key)).map(|(_, _, sum)| sum.posted());
        let sum = near.chain(whole).reduce(|a, b| a.plus(&b));
        sum.filter(|sum| *sum != Amounts::default()).map(|sum| (query.from, sum)).into_iter().collect()
    }
}

/// The whole days within a span, and what is left at its edges.
fn split(span: Range<Timestamp>) -> (Range<u64>, [Range<Timestamp>; 2]) {
    let first = span.start.as_nanos().div_ceil(DAY * 1_000_000_000);
    let last = day_of(span.end);
    if first >= last {
        return (0..0, [span.clone(), span.end..span.end]);
    }
    let midnight = |day| Timestamp::from_secs(day * DAY);
    (first..last, [span.start..midnight(first), midnight(last)..span.end])
}

fn passes(record: &UsageRecord, filter: &RecordFilter) -> bool {
    filter.from.is_none_or(|from| record.time >= from)
        && filter.to.is_none_or(|to| record.time < to)
        && filter.status.is_none_or(|status| record.status == Some(status))
        && is(&filter.outcome, record.outcome.map(Outcome::as_str))
        && is(&filter.id, Some(&*record.id))
        && is(&filter.request_id, Some(&*record.request_id))
        && owner_passes(filter, &record.home, &record.key_id, record.model.as_deref())
}

/// A place as a cursor: `<nanoseconds>-<number>` in hexadecimal.
fn cursor(place: Place) -> String {
    format!("{:x}-{:x}", place.0.as_nanos(), place.1)
}

fn parse(cursor: &str) -> StoreResult<Place> {
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let place =
        cursor.split_once('-').and_then(|(time, number)| Some((Timestamp::from_nanos(hex(time)?), hex(number)?)));
    place.ok_or_else(|| {
        StoreError::new(StoreErrorKind::Refused, "This cursor is not known: use the `next` of the page before.")
    })
}

impl UsageSink for MemoryLedger {
    fn open(&self, record: &UsageRecord) -> StoreFuture<StoreResult<()>> {
        let mut state = self.state();
        match record.outcome {
            None => state.open(record),
            Some(_) => state.put(record.clone(), self.keep),
        }
        StoreFuture::ready(Ok(()))
    }

    fn record(&self, record: UsageRecord) -> StoreFuture<StoreResult<()>> {
        self.state().put(record, self.keep);
        StoreFuture::ready(Ok(()))
    }
}

impl UsageStore for MemoryLedger {
    fn records(&self, filter: RecordFilter, page: Page) -> StoreFuture<StoreResult<PageOf<UsageRecord>>> {
        let end = filter.to.unwrap_or(Timestamp::from_nanos(u64::MAX));
        let after = match page.after.as_deref().map(parse).transpose() {
            Ok(after) => after.map_or((end, 0), |after| after.min((end, 0))),
            Err(error) => return StoreFuture::ready(Err(error)),
        };
        // One more than asked for tells whether there is a next page.
        let mut found = self.newest(&filter, after, page.limit.saturating_add(1));
        let more = found.len() > page.limit;
        found.truncate(page.limit);
        let next = found.last().filter(|_| more).map(|(place, _)| cursor(*place));
        StoreFuture::ready(Ok(PageOf { items: found.into_iter().map(|(_, record)| record).collect(), next }))
    }

    fn usage(&self, filter: RecordFilter, by: Vec<GroupBy>) -> StoreFuture<StoreResult<Vec<UsageRow>>> {
        let mut report = Report::new(by);
        self.state().report(&filter, &mut report);
        StoreFuture::ready(Ok(report.rows()))
    }

    fn posted(&self, query: PostedQuery) -> StoreFuture<StoreResult<Vec<(Timestamp, Amounts)>>> {
        StoreFuture::ready(Ok(self.state().posted(&query)))
    }
}

impl fmt::Debug for MemoryLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLedger").field("kept", &self.state().ended.len()).field("keep", &self.keep).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;
    use crate::store::contract::ledger as contract;

    #[tokio::test]
    async fn it_keeps_the_contract() {
        contract::run(async || MemoryLedger::new()).await;
    }

    #[tokio::test]
    async fn sums_of_whole_days_outlive_the_records() {
        let ledger = MemoryLedger::new().keep(3);
        for n in 0..10 {
            let record = contract::record(&format!("r{n}"), contract::NOON.plus(std::time::Duration::from_secs(n)));
            ledger.record(record).await.unwrap();
        }
        let all = Page { after: None, limit: 100 };
        assert_eq!(ledger.records(RecordFilter::default(), all).await.unwrap().items.len(), 3);
        assert_eq!(ledger.usage(RecordFilter::default(), vec![]).await.unwrap()[0].requests, 10);
        let posted = |from, each| PostedQuery { key: contract::workspace_limit(), from, each };
        assert_eq!(ledger.posted(posted(Timestamp::EPOCH, false)).await.unwrap()[0].1.requests, 10);
        assert_eq!(ledger.posted(posted(Timestamp::EPOCH, true)).await.unwrap().len(), 3);
    }

    #[tokio::test]
    async fn paths_that_callers_make_up_make_no_sums_of_their_own() {
        let ledger = MemoryLedger::new();
        for n in 0..10 {
            let record = contract::record(&n.to_string(), contract::NOON);
            ledger.record(UsageRecord { endpoint: format!("/items/{n}").into(), ..record }).await.unwrap();
        }
        assert_eq!(ledger.state().rollup.days(0, u64::MAX).count(), 1);
        let all = Page { after: None, limit: 100 };
        let records = ledger.records(RecordFilter::default(), all).await.unwrap().items;
        assert_eq!(records.iter().filter(|record| record.endpoint.starts_with("/items/")).count(), 10);
    }

    #[tokio::test]
    async fn a_listing_finds_the_oldest_among_thousands() {
        let ledger = MemoryLedger::new();
        for n in 0..3_000 {
            ledger.record(contract::record(&n.to_string(), Timestamp::from_secs(n))).await.unwrap();
        }
        let oldest = RecordFilter { id: Some("0".into()), ..RecordFilter::default() };
        let page = ledger.records(oldest, Page { after: None, limit: 1 }).await.unwrap();
        assert_eq!((page.items.len(), page.next), (1, None));
    }

    #[tokio::test]
    async fn a_request_that_outlives_its_opened_record_is_counted_once() {
        let ledger = MemoryLedger::new().keep(1);
        let record = contract::record("slow", contract::NOON);
        ledger.open(&UsageRecord { outcome: None, ..record.clone() }).await.unwrap();
        ledger.record(contract::record("quick", contract::NOON.plus(std::time::Duration::from_secs(1)))).await.unwrap();
        // Its books may be made twice.
        ledger.record(record.clone()).await.unwrap();
        ledger.record(record).await.unwrap();
        assert_eq!(ledger.usage(RecordFilter::default(), vec![]).await.unwrap()[0].requests, 2);
    }

    proptest! {
        #[test]
        fn sums_equal_a_count_by_hand(
            hours in proptest::collection::vec((0u64..100, 0usize..3), 0..40),
            from in 0u64..100,
            to in 0u64..100,
        ) {
            let at = |hour: u64| Timestamp::from_secs(hour * 3_600);
            let outcomes = [Outcome::Completed, Outcome::Refused, Outcome::ProviderFailed];
            let ledger = MemoryLedger::new();
            for (n, (hour, outcome)) in hours.iter().enumerate() {
                let record = contract::record(&n.to_string(), at(*hour));
                ledger.state().put(UsageRecord { outcome: Some(outcomes[*outcome]), ..record }, 1_000);
            }
            let filter = RecordFilter { from: Some(at(from)), to: Some(at(to)), ..RecordFilter::default() };
            let mut report = Report::new(vec![]);
            ledger.state().report(&filter, &mut report);
            let by_hand = hours.iter().filter(|(hour, _)| (from..to).contains(hour)).count() as u64;
            prop_assert_eq!(report.rows().first().map_or(0, |row| row.requests), by_hand);

            let query = |each| PostedQuery { key: contract::workspace_limit(), from: at(from), each };
            let sum = |each| ledger.state().posted(&query(each)).iter().map(|(_, a)| a.spend.as_nanos()).sum::<u64>();
            let by_hand = hours.iter().filter(|(hour, outcome)| *hour >= from && *outcome != 1).count() as u64;
            prop_assert_eq!((sum(false), sum(true)), (by_hand * 7, by_hand * 7));
        }
    }

    #[test]
    fn a_span_is_split_into_whole_days_and_edges_without_gap_or_overlap() {
        let at = |hours: u64| Timestamp::from_secs(hours * 3_600);
        assert_eq!(split(at(24)..at(72)), (1..3, [at(24)..at(24), at(72)..at(72)]));
        assert_eq!(split(at(23)..at(73)), (1..3, [at(23)..at(24), at(72)..at(73)]));
        assert_eq!(split(at(1)..at(2)), (0..0, [at(1)..at(2), at(2)..at(2)]));
        assert_eq!(split(at(23)..at(25)), (0..0, [at(23)..at(25), at(25)..at(25)]));
    }
}
