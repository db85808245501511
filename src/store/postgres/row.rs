//! A usage record as a row of the ledger: flat, its fields named as the columns, so that PostgreSQL takes a batch of them
//! as one JSON array and gives them back the same way.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::money::Money;
use crate::domain::caller::Home;
use crate::domain::limit::Amounts;
use crate::domain::modality::Modality;
use crate::domain::name::Name;
use crate::domain::record::{Outcome, UsageRecord};
use crate::domain::usage::Usage;

use super::{signed, unsigned};

/// Every column but `seq`.
pub(super) const COLUMNS: &str = "id, instance, request_id, \"time\", workspace, project, team, environment, key_id, endpoint, modality, \
     model, provider, upstream_model, upstream_request_id, status, code, outcome, streamed, latency_ms, first_byte_ms, \
     input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, images, video_seconds, \
     audio_seconds, characters, image_input_tokens, image_output_tokens, audio_input_tokens, audio_output_tokens, videos, \
     estimated, cost, held";

/// The units that reports sum, in the order in which [`sums`] gives them.
pub(super) const UNITS: [&str; 14] = [
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "images",
    "video_seconds",
    "audio_seconds",
    "characters",
    "image_input_tokens",
    "image_output_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "videos",
];

#[derive(Serialize, Deserialize)]
pub(super) struct LedgerRow {
    pub(super) id: Arc<str>,
    instance: String,
    request_id: Arc<str>,
    pub(super) time: i64,
    workspace: Name,
    project: Name,
    team: Option<Name>,
    environment: Option<Name>,
    key_id: Arc<str>,
    endpoint: Arc<str>,
    modality: Option<Modality>,
    model: Option<Arc<str>>,
    provider: Option<Arc<str>>,
    upstream_model: Option<Arc<str>>,
    upstream_request_id: Option<Arc<str>>,
    status: Option<u16>,
    code: Option<Arc<str>>,
    pub(super) outcome: Option<Outcome>,
    streamed: bool,
    latency_ms: Option<i64>,
    first_byte_ms: Option<i64>,
    #[serde(flatten)]
    units: Units,
    estimated: bool,
    cost: i64,
    held: Option<Amounts>,
}

#[derive(Serialize, Deserialize)]
struct Units {
    input_tokens: i64,
    cached_input_tokens: i64,
    cache_write_tokens: i64,
    output_tokens: i64,
    reasoning_tokens: i64,
    images: i64,
    video_seconds: i64,
    audio_seconds: i64,
    characters: i64,
    image_input_tokens: i64,
    image_output_tokens: i64,
    audio_input_tokens: i64,
    audio_output_tokens: i64,
    videos: i64,
}

impl Units {
    fn of(usage: &Usage) -> Self {
        Self {
            input_tokens: signed(usage.input_tokens),
            cached_input_tokens: signed(usage.cached_input_tokens),
            cache_write_tokens: signed(usage.cache_write_tokens),
            output_tokens: signed(usage.output_tokens),
            reasoning_tokens: signed(usage.reasoning_tokens),
            images: signed(usage.images),
            video_seconds: signed(usage.video_seconds),
            audio_seconds: signed(usage.audio_seconds),
            characters: signed(usage.characters),
            image_input_tokens: signed(usage.image_input_tokens),
            image_output_tokens: signed(usage.image_output_tokens),
            audio_input_tokens: signed(usage.audio_input_tokens),
            audio_output_tokens: signed(usage.audio_output_tokens),
            videos: signed(usage.videos),
        }
    }

    fn usage(&self) -> Usage {
        usage([
            self.input_tokens,
            self.cached_input_tokens,
            self.cache_write_tokens,
            self.output_tokens,
            self.reasoning_tokens,
            self.images,
            self.video_seconds,
            self.audio_seconds,
            self.characters,
            self.image_input_tokens,
            self.image_output_tokens,
            self.audio_input_tokens,
            self.audio_output_tokens,
            self.videos,
        ])
    }
}

/// Usage from its [`UNITS`].
pub(super) fn usage(units: [i64; 14]) -> Usage {
    let [input, cached, written, output, reasoning, images, video, audio, characters, rest @ ..] = units.map(unsigned);
    let [image_input_tokens, image_output_tokens, audio_input_tokens, audio_output_tokens, videos] = rest;
    Usage {
        input_tokens: input,
        cached_input_tokens: cached,
        cache_write_tokens: written,
        output_tokens: output,
        reasoning_tokens: reasoning,
        images,
        video_seconds: video,
        audio_seconds: audio,
        characters,
        image_input_tokens,
        image_output_tokens,
        audio_input_tokens,
        audio_output_tokens,
        videos,
    }
}

impl LedgerRow {
    pub(super) fn of(record: UsageRecord, instance: &str) -> Self {
        let Home { workspace, project, team, environment } = record.home;
        Self {
            id: record.id,
            instance: instance.to_owned(),
            request_id: record.request_id,
            time: signed(record.time.as_nanos()),
            workspace,
            project,
            team,
            environment,
            key_id: record.key_id,
            endpoint: record.endpoint,
            modality: record.modality,
            model: record.model,
            provider: record.provider,
            upstream_model: record.upstream_model,
            upstream_request_id: record.upstream_request_id,
            status: record.status,
            code: record.code,
            outcome: record.outcome,
            streamed: record.streamed,
            latency_ms: record.latency_ms.map(signed),
            first_byte_ms: record.first_byte_ms.map(signed),
            units: Units::of(&record.usage),
            estimated: record.estimated,
            cost: signed(record.cost.as_nanos()),
            held: record.held,
        }
    }

    pub(super) fn record(self) -> UsageRecord {
        let Self { workspace, project, team, environment, .. } = self;
        UsageRecord {
            id: self.id,
            request_id: self.request_id,
            time: Timestamp::from_nanos(unsigned(self.time)),
            home: Home { workspace, project, team, environment },
            key_id: self.key_id,
            endpoint: self.endpoint,
            modality: self.modality,
            model: self.model,
            provider: self.provider,
            upstream_model: self.upstream_model,
            upstream_request_id: self.upstream_request_id,
            status: self.status,
            code: self.code,
            outcome: self.outcome,
            streamed: self.streamed,
            latency_ms: self.latency_ms.map(unsigned),
            first_byte_ms: self.first_byte_ms.map(unsigned),
            usage: self.units.usage(),
            estimated: self.estimated,
            cost: Money::from_nanos(unsigned(self.cost)),
            held: self.held,
        }
    }
}
