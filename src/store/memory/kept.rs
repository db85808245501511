//! A record as the ledger in memory keeps it: what many have in common stands there once, and counts are short.

use std::sync::Arc;

use crate::base::clock::Timestamp;
use crate::base::money::Money;
use crate::base::short_id::Id;
use crate::domain::limit::Amounts;
use crate::domain::record::{Outcome, UsageRecord};
use crate::domain::usage::Usage;

use super::rollup::Line;

/// A record that has ended.
pub(super) struct Kept {
    id: Id,
    request_id: Id,
    line: Arc<Line>,
    endpoint: Arc<str>,
    upstream_model: Option<Arc<str>>,
    upstream_request_id: Option<Arc<str>>,
    status: Option<u16>,
    code: Option<Arc<str>>,
    outcome: Option<Outcome>,
    streamed: bool,
    estimated: bool,
    latency_ms: Option<u64>,
    first_byte_ms: Option<u64>,
    used: Used,
    cost: Money,
    held: Option<Box<Amounts>>,
}

enum Used {
    /// Input, cached input, output and reasoning: all that most requests use.
    Tokens([u32; 4]),
    Any(Box<Usage>),
}

impl Kept {
    pub(super) fn new(record: UsageRecord, line: Arc<Line>) -> Self {
        Self {
            id: record.id,
            request_id: record.request_id,
            line,
            endpoint: record.endpoint,
            upstream_model: record.upstream_model,
            upstream_request_id: record.upstream_request_id,
            status: record.status,
            code: record.code,
            outcome: record.outcome,
            streamed: record.streamed,
            estimated: record.estimated,
            latency_ms: record.latency_ms,
            first_byte_ms: record.first_byte_ms,
            used: Used::of(record.usage),
            cost: record.cost,
            held: record.held.map(Box::new),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The record again, which came in at `time`.
    pub(super) fn record(&self, time: Timestamp) -> UsageRecord {
        let Line { home, key_id, model, provider, modality } = &*self.line;
        UsageRecord {
            id: self.id.clone(),
            request_id: self.request_id.clone(),
            time,
            home: Arc::clone(home),
            key_id: Arc::clone(key_id),
            endpoint: Arc::clone(&self.endpoint),
            modality: *modality,
            model: model.clone(),
            provider: provider.clone(),
            upstream_model: self.upstream_model.clone(),
            upstream_request_id: self.upstream_request_id.clone(),
            status: self.status,
            code: self.code.clone(),
            outcome: self.outcome,
            streamed: self.streamed,
            latency_ms: self.latency_ms,
            first_byte_ms: self.first_byte_ms,
            usage: self.used.usage(),
            estimated: self.estimated,
            cost: self.cost,
            held: self.held.as_deref().copied(),
        }
    }
}

impl Used {
    fn of(usage: Usage) -> Self {
        let tokens = [usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, usage.reasoning_tokens];
        // What does not fit comes out as something else.
        let short = Self::Tokens(tokens.map(|count| count as u32));
        if short.usage() == usage { short } else { Self::Any(Box::new(usage)) }
    }

    fn usage(&self) -> Usage {
        match self {
            Self::Tokens(counts) => {
                let [input_tokens, cached_input_tokens, output_tokens, reasoning_tokens] = counts.map(u64::from);
                Usage { input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, ..Usage::NONE }
            }
            Self::Any(usage) => **usage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::ledger::{NOON, record};

    #[test]
    fn a_record_comes_out_as_it_went_in() {
        let plain = record("a", NOON);
        let large = Usage { input_tokens: 1 << 40, ..plain.usage };
        let media = Usage { images: 2, ..plain.usage };
        let odd = UsageRecord { held: Some(Amounts::ONE_REQUEST), code: Some("x".into()), ..record("b", NOON) };
        let with = |usage| UsageRecord { usage, ..plain.clone() };
        for record in [with(large), with(media), with(Usage::NONE), odd, plain.clone()] {
            let line = Arc::new(Line::of(&record));
            assert_eq!(Kept::new(record.clone(), line).record(NOON), record);
        }
    }
}
