//! A delivery: one event on its way to one webhook endpoint. The row of the outbox.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;

use super::name::Name;
use super::webhook::EventKind;

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// It will be tried, or tried again.
    Pending,
    /// The receiver took it.
    Delivered,
    /// The last attempt of the schedule failed.
    Failed,
    /// Its endpoint is gone or disabled.
    Dropped,
}

impl DeliveryState {
    /// The word for it in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// One event on its way to one endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "documented where the name does not say it")]
pub struct Delivery {
    pub id: Arc<str>,
    /// The same on every attempt: the receiver's means to tell a repetition.
    pub event_id: Arc<str>,
    pub workspace: Name,
    pub kind: EventKind,
    /// Whose secrets sign it.
    pub endpoint_id: Arc<str>,
    pub url: Arc<str>,
    /// The whole payload, signed as it stands.
    pub body: Arc<str>,
    pub state: DeliveryState,
    pub attempts: u32,
    /// The receiver's last status; `None` before the first answer.
    pub last_status: Option<u16>,
    pub created_at: Timestamp,
    /// When it is tried next; a lease moves it ahead. `None` = never again.
    pub due_at: Option<Timestamp>,
}
