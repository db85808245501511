//! Numbers as SQL keeps them: signed, and the units of usage one to a column.

use crate::domain::usage::Usage;

/// The units that reports sum, in the order in which [`units`] gives and [`usage`] takes them.
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

/// What is larger is the largest.
pub(super) fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// What is negative is nothing.
pub(super) fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// Usage as its [`UNITS`].
pub(super) fn units(usage: &Usage) -> [i64; 14] {
    [
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        usage.images,
        usage.video_seconds,
        usage.audio_seconds,
        usage.characters,
        usage.image_input_tokens,
        usage.image_output_tokens,
        usage.audio_input_tokens,
        usage.audio_output_tokens,
        usage.videos,
    ]
    .map(signed)
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
