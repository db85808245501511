//! Numbers as SQL keeps them: signed, and the units of usage one to a column.

/// The units that reports sum, in the order of [`units`](super::units::units).
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
