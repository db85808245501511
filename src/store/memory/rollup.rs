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

/// What tells one sum of a day from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Line {
    home: Home,
    key_id: Arc<str>,
    model: Option<Arc<str>>,
    provider: Option<Arc<str>>,
    modality: Option<Modality>,
}

impl Line {
    pub(super) fn of(record: &UsageRecord) -> Self {
        Self {
            home: record.home.clone(),
            key_id: Arc::clone(&record.key_id),
            model: record.model.clone(),
            provider: record.provider.clone(),
            modality: record.modality,
        }
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
pub(super) struct Rollup(BTreeMap<u64, QuickMap<Line, Sum>>);

impl Rollup {
    pub(super) fn add(&mut self, record: &UsageRecord) {
        let sum = self.0.entry(day_of(record.time)).or_default().entry(Line::of(record)).or_default();
        *sum = sum.plus(&Sum::of(record));
    }

    /// The sums of whole days, from `from` on and before `to`.
    pub(super) fn days(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, &Line, &Sum)> {
        let days = (from < to).then(|| self.0.range(from..to)).into_iter().flatten();
        days.flat_map(|(day, lines)| lines.iter().map(|(line, sum)| (*day, line, sum)))
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
