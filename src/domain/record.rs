//! The usage record: one for every model request that passed authentication.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::money::Money;
use crate::base::short_id::Id;

use super::caller::Home;
use super::limit::Amounts;
use super::modality::Modality;
use super::usage::Usage;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Answered in full.
    Completed,
    /// The caller left first.
    ClientClosed,
    /// Any vendor error or timeout.
    ProviderFailed,
    /// A stream that ended without its finish.
    Truncated,
    /// The gateway said no before the vendor was called.
    Refused,
    /// The gateway's own fault.
    Failed,
    /// In flight at a crash; posted at its hold.
    UnknownAfterCrash,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 7] = [
        Self::Completed,
        Self::ClientClosed,
        Self::ProviderFailed,
        Self::Truncated,
        Self::Refused,
        Self::Failed,
        Self::UnknownAfterCrash,
    ];

    /// The word for it in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ClientClosed => "client_closed",
            Self::ProviderFailed => "provider_failed",
            Self::Truncated => "truncated",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::UnknownAfterCrash => "unknown_after_crash",
        }
    }
}

/// What one request was, used and cost. Holds no prompt, no answer, no secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields of CONTRACT section 6, in its words")]
pub struct UsageRecord {
    /// Always minted here, sortable by nothing but itself.
    pub id: Id,
    pub request_id: Id,
    /// Arrival. Windows count the request at this moment.
    pub time: Timestamp,
    #[serde(flatten)]
    pub home: Arc<Home>,
    pub key_id: Arc<str>,
    pub endpoint: Arc<str>,
    pub modality: Option<Modality>,
    pub model: Option<Arc<str>>,
    pub provider: Option<Arc<str>>,
    pub upstream_model: Option<Arc<str>>,
    pub upstream_request_id: Option<Arc<str>>,
    /// What the caller got; `None` when it was gone before the headers.
    pub status: Option<u16>,
    /// The error's stable code.
    pub code: Option<Arc<str>>,
    /// `None` while it runs.
    pub outcome: Option<Outcome>,
    pub streamed: bool,
    pub latency_ms: Option<u64>,
    pub first_byte_ms: Option<u64>,
    pub usage: Usage,
    /// The vendor did not say; these are bounds or counts of our own.
    pub estimated: bool,
    pub cost: Money,
    /// What is held while it runs: what recovery posts after a crash. Once it ended `None`; or nothing, where it was
    /// cut before it was admitted.
    pub held: Option<Amounts>,
}

impl UsageRecord {
    /// Whether a vendor may have billed for it. Such a record is never turned away: its request was opened first, so there
    /// are no more of them than that.
    pub fn may_be_billed(&self) -> bool {
        self.outcome.is_some() && (self.cost != Money::ZERO || self.usage != Usage::NONE)
    }

    /// What the record counts against limits: nothing when it was refused or never admitted, its hold while it runs.
    pub fn amounts(&self) -> Amounts {
        match (self.outcome, self.held) {
            (Some(Outcome::Refused), _) => Amounts::default(),
            (_, Some(held)) => held,
            _ => Amounts::of_request(&self.usage, self.cost),
        }
    }

    /// Whether usage reports count it as an error: neither completed nor closed by the caller.
    pub fn is_error(&self) -> bool {
        !matches!(self.outcome, None | Some(Outcome::Completed | Outcome::ClientClosed))
    }
}
