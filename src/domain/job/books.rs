//! What a job keeps of its request's hold and record, so that any instance can end them, after a crash too.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::short_id::Id;
use crate::domain::hold::LastingHold;
use crate::domain::limit::Amounts;
use crate::domain::modality::Modality;
use crate::domain::record::UsageRecord;

use super::Job;

/// What a job knows of its request's record beside what it knows of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields of the record")]
pub struct OpenRecord {
    pub id: Id,
    pub request_id: Id,
    pub time: Timestamp,
    pub endpoint: Arc<str>,
    pub upstream_model: Option<Arc<str>>,
    pub upstream_request_id: Option<Arc<str>>,
    pub status: Option<u16>,
    pub first_byte_ms: Option<u64>,
}

impl From<UsageRecord> for OpenRecord {
    fn from(record: UsageRecord) -> Self {
        Self {
            id: record.id,
            request_id: record.request_id,
            time: record.time,
            endpoint: record.endpoint,
            upstream_model: record.upstream_model,
            upstream_request_id: record.upstream_request_id,
            status: record.status,
            first_byte_ms: record.first_byte_ms,
        }
    }
}

/// What a job knows of its hold beside what it knows of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields of the hold")]
pub struct Held {
    pub id: Arc<str>,
    pub amounts: Amounts,
    pub at: Timestamp,
}

impl From<LastingHold> for Held {
    fn from(hold: LastingHold) -> Self {
        Self { id: hold.id, amounts: hold.amounts, at: hold.at }
    }
}

impl Job {
    /// What it holds of the limits; `None` where it holds nothing.
    pub fn lasting_hold(&self) -> Option<LastingHold> {
        let Held { id, amounts, at } = self.hold.clone()?;
        let (home, key_id, model) = (self.home.clone(), Arc::clone(&self.key_id), Some(Arc::clone(&self.model)));
        Some(LastingHold { id, home, key_id, modality: Some(Modality::Video), model, amounts, at })
    }

    /// The completed record of a terminal job.
    pub fn closed_record(&self) -> Option<UsageRecord> {
        let (record, end) = (self.record.as_deref()?.clone(), self.settlement()?);
        let took = self.completed_at.unwrap_or(self.created_at).since(record.time).as_millis();
        Some(UsageRecord {
            id: record.id,
            request_id: record.request_id,
            time: record.time,
            home: Arc::new(self.home.clone()),
            key_id: Arc::clone(&self.key_id),
            endpoint: record.endpoint,
            modality: Some(Modality::Video),
            model: Some(Arc::clone(&self.model)),
            provider: Some(Arc::clone(&self.provider)),
            upstream_model: record.upstream_model,
            upstream_request_id: record.upstream_request_id,
            status: record.status,
            code: self.error.as_ref().map(|error| Arc::clone(&error.code)),
            outcome: Some(end.outcome),
            streamed: false,
            latency_ms: Some(u64::try_from(took).unwrap_or(u64::MAX)),
            first_byte_ms: record.first_byte_ms,
            usage: end.usage,
            estimated: end.estimated,
            cost: end.cost,
            held: None,
        })
    }
}
