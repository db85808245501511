//! Limits: what is counted, for whom, over which window, and the amounts that requests hold and use.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::error::RefusedLimit;
use crate::base::money::Money;

use super::caller::{Caller, Home};
use super::modality::Modality;
use super::name::Name;
use super::usage::Usage;

/// Whom a limit binds. Written `workspace:W`, `team:W/T`, `project:W/P`, `environment:W/P/E`, `key:ID`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the levels")]
pub enum Scope {
    Workspace(Name),
    Team(Name, Name),
    Project(Name, Name),
    Environment(Name, Name, Name),
    Key(Arc<str>),
}

impl Scope {
    /// Every scope that `caller` stands in, outermost first.
    pub fn of(caller: &Caller) -> impl Iterator<Item = Self> + use<> {
        Self::around(caller.home(), caller.shared_key_id())
    }

    /// Every scope that a key of this home stands in, outermost first.
    pub fn around(home: &Home, key_id: Arc<str>) -> impl Iterator<Item = Self> + use<> {
        let home = home.clone();
        let workspace = home.workspace.clone();
        let team = home.team.map(|t| Self::Team(workspace.clone(), t));
        let environment = home.environment.map(|e| Self::Environment(workspace.clone(), home.project.clone(), e));
        let key = Self::Key(key_id);
        [
            Some(Self::Workspace(workspace.clone())),
            team,
            Some(Self::Project(workspace, home.project)),
            environment,
            Some(key),
        ]
        .into_iter()
        .flatten()
    }

    /// Whether `caller` stands in this scope.
    pub fn covers(&self, caller: &Caller) -> bool {
        self.holds(caller.home(), caller.key_id())
    }

    /// Whether a key of this home stands in this scope.
    pub fn holds(&self, home: &Home, key_id: &str) -> bool {
        match self {
            Self::Workspace(w) => *w == home.workspace,
            Self::Team(w, t) => *w == home.workspace && Some(t) == home.team.as_ref(),
            Self::Project(w, p) => *w == home.workspace && *p == home.project,
            Self::Environment(w, p, e) => {
                *w == home.workspace && *p == home.project && Some(e) == home.environment.as_ref()
            }
            Self::Key(id) => **id == *key_id,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workspace(w) => write!(f, "workspace:{w}"),
            Self::Team(w, t) => write!(f, "team:{w}/{t}"),
            Self::Project(w, p) => write!(f, "project:{w}/{p}"),
            Self::Environment(w, p, e) => write!(f, "environment:{w}/{p}/{e}"),
            Self::Key(id) => write!(f, "key:{id}"),
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no scope: use workspace:W, team:W/T, project:W/P, environment:W/P/E or key:ID");
        let (level, path) = text.split_once(':').ok_or_else(wrong)?;
        let parts = path.split('/').map(Name::new).collect::<Result<Vec<_>, _>>().map_err(|_| wrong())?;
        match (level, parts.as_slice()) {
            ("workspace", [w]) => Ok(Self::Workspace(w.clone())),
            ("team", [w, t]) => Ok(Self::Team(w.clone(), t.clone())),
            ("project", [w, p]) => Ok(Self::Project(w.clone(), p.clone())),
            ("environment", [w, p, e]) => Ok(Self::Environment(w.clone(), p.clone(), e.clone())),
            ("key", [id]) => Ok(Self::Key(id.as_str().into())),
            _ => Err(wrong()),
        }
    }
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the words of CONTRACT section 2")]
pub enum Measure {
    Requests,
    Tokens,
    InputTokens,
    OutputTokens,
    /// Nano-dollars inside; decimal strings of US dollars outside.
    Spend,
    Images,
    VideoSeconds,
    AudioSeconds,
    Characters,
    Concurrency,
}

impl Measure {
    /// Every measure.
    pub const ALL: [Self; 10] = [
        Self::Requests,
        Self::Tokens,
        Self::InputTokens,
        Self::OutputTokens,
        Self::Spend,
        Self::Images,
        Self::VideoSeconds,
        Self::AudioSeconds,
        Self::Characters,
        Self::Concurrency,
    ];

    /// The word for it in configuration and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::Spend => "spend",
            Self::Images => "images",
            Self::VideoSeconds => "video_seconds",
            Self::AudioSeconds => "audio_seconds",
            Self::Characters => "characters",
            Self::Concurrency => "concurrency",
        }
    }

    /// Whether it counts tokens of some direction.
    pub const fn is_tokens(self) -> bool {
        matches!(self, Self::Tokens | Self::InputTokens | Self::OutputTokens)
    }

    /// `amount` of this measure as JSON: a decimal string for spend, else an integer.
    pub fn json(self, amount: u64) -> serde_json::Value {
        match self {
            Self::Spend => Money::from_nanos(amount).to_string().into(),
            _ => amount.into(),
        }
    }
}

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
    /// An enforced limit set by code.
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

/// Amounts by measure: what a request holds, or what it used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the measures")]
pub struct Amounts {
    pub requests: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub spend: Money,
    pub images: u64,
    pub video_seconds: u64,
    pub audio_seconds: u64,
    pub characters: u64,
}

impl Amounts {
    /// One request and nothing else.
    pub const ONE_REQUEST: Self = Self {
        requests: 1,
        input_tokens: 0,
        output_tokens: 0,
        spend: Money::ZERO,
        images: 0,
        video_seconds: 0,
        audio_seconds: 0,
        characters: 0,
    };

    /// One request that used `usage` and cost `spend`.
    pub fn of_request(usage: &Usage, spend: Money) -> Self {
        Self {
            requests: 1,
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            spend,
            images: usage.images,
            video_seconds: usage.video_seconds,
            audio_seconds: usage.audio_seconds,
            characters: usage.characters,
        }
    }

    /// The amount in the unit of `measure`. Concurrency is one lease for each request.
    pub fn of(&self, measure: Measure) -> u64 {
        match measure {
            Measure::Requests | Measure::Concurrency => self.requests,
            Measure::Tokens => self.input_tokens.saturating_add(self.output_tokens),
            Measure::InputTokens => self.input_tokens,
            Measure::OutputTokens => self.output_tokens,
            Measure::Spend => self.spend.as_nanos(),
            Measure::Images => self.images,
            Measure::VideoSeconds => self.video_seconds,
            Measure::AudioSeconds => self.audio_seconds,
            Measure::Characters => self.characters,
        }
    }

    /// The sum, measure by measure; saturates.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            spend: self.spend.plus(other.spend),
            images: self.images.saturating_add(other.images),
            video_seconds: self.video_seconds.saturating_add(other.video_seconds),
            audio_seconds: self.audio_seconds.saturating_add(other.audio_seconds),
            characters: self.characters.saturating_add(other.characters),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_written() {
        for text in [
            "workspace:acme",
            "team:acme/web",
            "project:acme/site",
            "environment:acme/site/prod",
            "key:000SYW7RiJxkEgOGusQGwp",
        ] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        for text in ["acme", "workspace:", "workspace:a/b", "team:a", "planet:earth", "project:a/b c"] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
    }
}
