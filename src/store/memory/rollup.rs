//! Sums of ended records by day and by everything that reports group by: exact long after the records are gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::clock::Timestamp;
use crate::base::hash::QuickMap;
use crate::base::money::Money;
use crate::domain::caller::Home;
use crate::domain::limit::{Amounts, LimitKey};
use crate::domain::modality::Modality;
use crate::domain::record::UsageRecord;
use crate::domain::usage::Usage;
use crate::domain::window;
use crate::store::ledger::{GroupBy, RecordFilter, UsageRow};

/// Seconds of a UTC day.
pub(super) const DAY: u64 = 86_400;

/// The UTC day of `at`, counted from the epoch.
pub(super) fn day_of(at: Timestamp) -> u64 {
    at.as_secs() / DAY
}

/// What tells one sum of a day from another, and the upstream model that goes with it: that stands here once for all its
/// records. Nothing in it is a text of the caller's own: there must be no end of lines.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Line {
    pub(super) home: Arc<Home>,
    pub(super) key_id: Arc<str>,
    pub(super) model: Option<Arc<str>>,
    pub(super) provider: Option<Arc<str>>,
    pub(super) modality: Option<Modality>,
    pub(super) upstream_model: Option<Arc<str>>,
}

impl Line {
    pub(super) fn of(record: &UsageRecord) -> Self {
        Self {
            home: Arc::clone(&record.home),
            key_id: Arc::clone(&record.key_id),
            model: record.model.clone(),
            provider: record.provider.clone(),
            modality: record.modality,
            upstream_model: record.upstream_model.clone(),
        }
    }

    /// Whether it is the record's line.
    fn is_of(&self, record: &UsageRecord) -> bool {
        let Self { home, key_id, model, provider, modality, upstream_model } = self;
        *key_id == record.key_id
            && *model == record.model
            && *provider == record.provider
            && *modality == record.modality
            && *upstream_model == record.upstream_model
            && *home == record.home
    }

    pub(super) fn counts_for(&self, limit: &LimitKey) -> bool {
        limit.scope.holds(&self.home, &self.key_id) && limit.matches(self.modality, self.model.as_deref())
    }

    pub(super) fn passes(&self, filter: &RecordFilter) -> bool {
        owner_passes(filter, &self.home, &self.key_id, self.model.as_deref())
    }

    fn value(&self, by: GroupBy, day: u64) -> Option<String> {
        let home = &self.home;
        match by {
            GroupBy::Day => Some(window::date(Timestamp::from_secs(day * DAY))),
            GroupBy::Workspace => Some(home.workspace.to_string()),
            GroupBy::Project => Some(home.project.to_string()),
            GroupBy::Team => home.team.as_ref().map(ToString::to_string),
            GroupBy::Environment => home.environment.as_ref().map(ToString::to_string),
            GroupBy::Key => Some(self.key_id.to_string()),
            GroupBy::Model => self.model.as_deref().map(str::to_owned),
            GroupBy::Provider => self.provider.as_deref().map(str::to_owned),
            GroupBy::Modality => self.modality.map(|m| m.to_string()),
        }
    }
}

/// Whether `filter` lets records of this owner and model through.
pub(super) fn owner_passes(filter: &RecordFilter, home: &Home, key_id: &str, model: Option<&str>) -> bool {
    is(&filter.workspace, Some(home.workspace.as_str()))
        && is(&filter.project, Some(home.project.as_str()))
        && is(&filter.team, home.team.as_ref().map(|t| t.as_str()))
        && is(&filter.environment, home.environment.as_ref().map(|e| e.as_str()))
        && is(&filter.key, Some(key_id))
        && is(&filter.model, model)
}

/// Whether `want` is absent or what there is.
pub(super) fn is(want: &Option<String>, have: Option<&str>) -> bool {
    want.is_none() || want.as_deref() == have
}

/// A sum of records.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    requests: u64,
    errors: u64,
    usage: Usage,
    cost: Money,
    /// What counts against limits: nothing of a refused request.
    posted: Amounts,
}

impl Sum {
    pub(super) fn of(record: &UsageRecord) -> Self {
        Self {
            requests: 1,
            errors: u64::from(record.is_error()),
            usage: record.usage,
            cost: record.cost,
            posted: record.amounts(),
        }
    }

    fn plus(&self, other: &Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            errors: self.errors + other.errors,
            usage: self.usage.plus(&other.usage),
            cost: self.cost.plus(other.cost),
            posted: self.posted.plus(&other.posted),
        }
    }

    pub(super) fn posted(&self) -> Amounts {
        self.posted
    }
}

/// All sums, by day. One small entry for each combination that a day has seen.
#[derive(Debug, Default)]
pub(super) struct Rollup {
    days: BTreeMap<u64, Day>,
    last: Option<Last>,
}

#[derive(Debug, Default)]
struct Day {
    lines: QuickMap<Arc<Line>, usize>,
    sums: Vec<(Arc<Line>, Sum)>,
}

/// Where the record before went: the next goes there, too, more often than not.
#[derive(Debug)]
struct Last {
    day: u64,
    line: Arc<Line>,
    at: usize,
}

impl Rollup {
    /// Adds a record to its line, which comes back.
    pub(super) fn add(&mut self, record: &UsageRecord) -> Arc<Line> {
        let day = day_of(record.time);
        let sums = self.days.entry(day).or_default();
        let last = self.last.as_ref().filter(|last| last.day == day && last.line.is_of(record));
        let (at, line) = match last {
            Some(last) => (last.at, Arc::clone(&last.line)),
            None => {
                let (at, line) = sums.line(record);
                self.last = Some(Last { day, line: Arc::clone(&line), at });
                (at, line)
            }
        };
        if let Some((_, sum)) = sums.sums.get_mut(at) {
            *sum = sum.plus(&Sum::of(record));
        }
        line
    }

    /// The sums of whole days, from `from` on and before `to`.
    pub(super) fn days(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, &Line, &Sum)> {
        let days = (from < to).then(|| self.days.range(from..to)).into_iter().flatten();
        days.flat_map(|(day, sums)| sums.sums.iter().map(|(line, sum)| (*day, &**line, sum)))
    }
}

impl Day {
    /// The line of a record, and where its sum stands.
    fn line(&mut self, record: &UsageRecord) -> (usize, Arc<Line>) {
        let line = Arc::new(Line::of(record));
        if let Some(&at) = self.lines.get(&line)
            && let Some((known, _)) = self.sums.get(at)
        {
            return (at, Arc::clone(known));
        }
        let at = self.sums.len();
        self.lines.insert(Arc::clone(&line), at);
        self.sums.push((Arc::clone(&line), Sum::default()));
        (at, line)
    }
}

/// A report in the making.
pub(super) struct Report {
    by: Vec<GroupBy>,
    rows: BTreeMap<Vec<Option<String>>, Sum>,
}

impl Report {
    pub(super) fn new(by: Vec<GroupBy>) -> Self {
        Self { by, rows: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, day: u64, line: &Line, sum: &Sum) {
        let group = self.by.iter().map(|by| line.value(*by, day)).collect();
        let row = self.rows.entry(group).or_default();
        *row = row.plus(sum);
    }

    /// The rows, in the order of their groups.
    pub(super) fn rows(self) -> Vec<UsageRow> {
        let row = |(group, sum): (_, Sum)| UsageRow {
            group,
            requests: sum.requests,
            errors: sum.errors,
            usage: sum.usage,
            cost: sum.cost,
        };
        self.rows.into_iter().map(row).collect()
    }
}
