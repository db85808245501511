//! Usage and amounts as their numbers, one after the other.

use crate::base::money::Money;
use crate::domain::limit::Amounts;
use crate::domain::usage::Usage;

/// Usage as its units, in the order in which [`usage`] takes them.
pub(super) fn units(usage: &Usage) -> [u64; 14] {
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
}

/// Usage from its [`units`].
pub(super) fn usage(units: [u64; 14]) -> Usage {
    let [input, cached, written, output, reasoning, images, video, audio, characters, rest @ ..] = units;
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

/// Amounts, as [`amounts`] takes them.
pub(super) fn numbers(amounts: Amounts) -> [u64; 8] {
    let Amounts { requests, input_tokens, output_tokens, spend, images, video_seconds, audio_seconds, characters } =
        amounts;
    [requests, input_tokens, output_tokens, spend.as_nanos(), images, video_seconds, audio_seconds, characters]
}

/// Amounts from their [`numbers`].
pub(super) fn amounts(numbers: [u64; 8]) -> Amounts {
    let [requests, input_tokens, output_tokens, spend, images, video_seconds, audio_seconds, characters] = numbers;
    let spend = Money::from_nanos(spend);
    Amounts { requests, input_tokens, output_tokens, spend, images, video_seconds, audio_seconds, characters }
}
