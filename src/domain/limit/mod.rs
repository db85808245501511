//! Limits: what is counted, for whom, over which window, and the amounts that requests hold and use.

mod amounts;
mod measure;
mod scope;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::error::RefusedLimit;
use crate::base::money::Money;

use super::modality::Modality;

pub use amounts::Amounts;
pub use measure::Measure;
pub use scope::Scope;

/// The window of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the words of CONTRACT section 2")]
pub enum Per {
    Second,
    Minute,
    Hour,
    Day,
    Month,
    Total,
}

/// How a window counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// GCRA over so many nanoseconds, burst = amount.
    Rate {
        /// Length in nanoseconds.
        period: u64,
    },
    /// A counter that starts anew with the calendar, UTC.
    Calendar(Per),
    /// A counter that never starts anew.
    Total,
    /// Leases, given back when the request ends.
    Lease,
}

impl Per {
    /// Every window, shortest first.
    pub const ALL: [Self; 6] = [Self::Second, Self::Minute, Self::Hour, Self::Day, Self::Month, Self::Total];

    /// The word for it in configuration and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::Total => "total",
        }
    }
}

/// Whether a limit refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Refuses what does not fit.
    #[default]
    Enforce,
    /// Counts and reports, never refuses.
    Shadow,
}

impl Mode {
    /// The word for it in configuration and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
        }
    }
}

/// What happens to requests while the quota store cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnStoreFailure {
    /// Refused with `quota_unavailable`.
    Closed,
    /// Admitted, counted later. Spend and total limits are closed all the same.
    Open,
}

/// Where a limit was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitSource {
    /// In the configuration file: read-only.
    Config,
    /// By the admin API or the host's code.
    Api,
}

/// What tells one limit from another, and names its counter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the five that make a limit one")]
pub struct LimitKey {
    pub scope: Scope,
    pub modality: Option<Modality>,
    pub model: Option<Arc<str>>,
    pub measure: Measure,
    /// `None` for concurrency alone.
    pub per: Option<Per>,
}

impl LimitKey {
    /// How its window counts.
    pub fn window(&self) -> Window {
        const SECOND: u64 = 1_000_000_000;
        match self.per {
            None => Window::Lease,
            Some(Per::Second) => Window::Rate { period: SECOND },
            Some(Per::Minute) => Window::Rate { period: 60 * SECOND },
            Some(Per::Hour) => Window::Rate { period: 3_600 * SECOND },
            Some(per @ (Per::Day | Per::Month)) => Window::Calendar(per),
            Some(Per::Total) => Window::Total,
        }
    }

    /// Whether a request of this modality and model counts here (the scope is the caller's affair).
    pub fn matches(&self, modality: Option<Modality>, model: Option<&str>) -> bool {
        (self.modality.is_none() || self.modality == modality)
            && (self.model.is_none() || self.model.as_deref() == model)
    }

    /// Whether a store that cannot be reached closes this limit whatever is configured.
    pub fn always_closed(&self) -> bool {
        self.measure == Measure::Spend || self.per == Some(Per::Total)
    }
}

/// A limit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the keys of CONTRACT section 2")]
pub struct Limit {
    pub key: LimitKey,
    /// In the measure's unit (spend: nano-dollars). 0 blocks all.
    pub amount: u64,
    pub mode: Mode,
    /// Thresholds in thousandths of `amount`, ascending.
    pub alert_at: Vec<u32>,
    /// This limit's own; `None` takes the store's.
    pub on_store_failure: Option<OnStoreFailure>,
    pub source: LimitSource,
}

impl Limit {
    /// An enforced limit set by code; `amount` in the measure's unit, which for spend is the nano-dollar.
    pub fn new(key: LimitKey, amount: u64) -> Self {
        Self {
            key,
            amount,
            mode: Mode::Enforce,
            alert_at: Vec::new(),
            on_store_failure: None,
            source: LimitSource::Api,
        }
    }

    /// A hard cap on what a scope spends, in dollars.
    ///
    /// ```
    /// use kancy::{Limit, Per};
    /// let cap = Limit::spend("workspace:acme".parse()?, Per::Month, "50.00".parse()?);
    /// assert_eq!(cap.amount, 50_000_000_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spend(scope: Scope, per: Per, cap: Money) -> Self {
        Self::new(
            LimitKey { scope, modality: None, model: None, measure: Measure::Spend, per: Some(per) },
            cap.as_nanos(),
        )
    }

    /// How a refusal shows it.
    pub fn refused(&self) -> RefusedLimit {
        RefusedLimit {
            scope: self.key.scope.to_string(),
            measure: self.key.measure.as_str(),
            modality: self.key.modality.map(Modality::as_str),
            model: self.key.model.as_deref().map(str::to_owned),
            amount: self.key.measure.json(self.amount),
            per: self.key.per.map(Per::as_str),
        }
    }
}
