//! How a job ends, and what it then comes to.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::money::Money;
use crate::domain::limit::Amounts;
use crate::domain::record::Outcome;
use crate::domain::usage::Usage;

use super::{JobState, Video};

/// Why a job did not complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "a stable code and its text")]
pub struct JobError {
    pub code: Arc<str>,
    pub kind: Arc<str>,
    pub message: Arc<str>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// Done: what there is to fetch, and what it used.
    Completed(Vec<Video>, Usage),
    /// The vendor said no.
    Failed(JobError),
    /// Given up at the caller's word.
    Cancelled,
    /// The vendor dropped it.
    Expired(JobError),
    /// The deadline passed, or the create was lost: what became of it at the vendor is not known.
    Unknown(JobState, JobError),
}

/// What a terminal job comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields of a record that are known at the end")]
pub struct Settlement {
    pub outcome: Outcome,
    pub usage: Usage,
    pub estimated: bool,
    pub cost: Money,
}

impl Settlement {
    /// What limits are settled to.
    pub fn amounts(&self) -> Amounts {
        Amounts::of_request(&self.usage, self.cost)
    }
}
