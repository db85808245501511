//! Webhook endpoints: where a workspace's events go.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;

use super::name::Name;

/// What can be announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named after their words")]
pub enum EventKind {
    #[serde(rename = "video.generation.completed")]
    Completed,
    #[serde(rename = "video.generation.failed")]
    Failed,
    #[serde(rename = "video.generation.cancelled")]
    Cancelled,
    #[serde(rename = "video.generation.expired")]
    Expired,
    #[serde(rename = "usage.alert.triggered")]
    Alert,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Completed, Self::Failed, Self::Cancelled, Self::Expired, Self::Alert];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "video.generation.completed",
            Self::Failed => "video.generation.failed",
            Self::Cancelled => "video.generation.cancelled",
            Self::Expired => "video.generation.expired",
            Self::Alert => "usage.alert.triggered",
        }
    }
}

/// Where a workspace's events go. Its secrets stand apart: see `Signer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields of CONTRACT sections 2 and 6")]
pub struct Endpoint {
    pub id: Arc<str>,
    pub workspace: Name,
    pub url: Arc<str>,
    /// The types of event that it gets.
    pub events: Vec<EventKind>,
    /// Whether loopback, private addresses and plain http are accepted.
    pub allow_private: bool,
    pub created_at: Timestamp,
    /// The receiver said 410 Gone: nothing is sent there any more.
    pub disabled: bool,
}
