//! The known models of CONTRACT section 5: one table, of which configuration can override every field.

use crate::base::money::Rate;
use crate::domain::modality::Modality;
use crate::domain::model::ModelTerms;
use crate::domain::price::{Price, Rates, Tier, When};

use super::kind::Kind;

/// A model that needs no configuration beyond its provider.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The id that callers name.
    pub id: &'static str,
    /// The kind of the provider that has it.
    pub kind: Kind,
    /// The vendor's id of it.
    pub upstream: &'static str,
    /// What it works on.
    pub modality: Modality,
    ceiling: Option<u64>,
    price: KnownPrice,
}

#[derive(Clone, Copy, Debug)]
enum KnownPrice {
    Unpriced,
    Flat(Rates),
    InputOver(u64, Rates, Rates),
    Resolution(&'static str, Rates, Rates),
}

impl Known {
    /// The terms on which it is offered unless configuration says otherwise.
    pub fn terms(&self) -> ModelTerms {
        let mut terms = ModelTerms::new(self.id, self.modality);
        terms.max_output_tokens = self.ceiling;
        terms.price = self.price.price();
        terms
    }
}

impl KnownPrice {
    fn price(self) -> Price {
        let tiered = |when, rates, base| Price::Rates { base, tiers: vec![Tier { when, rates }] };
        match self {
            Self::Unpriced => Price::Unpriced,
            Self::Flat(base) => Price::flat(base),
            Self::InputOver(floor, rates, base) => {
                tiered(When { input_over: Some(floor), ..When::default() }, rates, base)
            }
            Self::Resolution(resolution, rates, base) => {
                tiered(When { resolution: Some(resolution.to_owned()), ..When::default() }, rates, base)
            }
        }
    }
}

/// The known model with exactly this id.
pub fn known(id: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|model| model.id == id)
}

/// Micro-dollars per million tokens, which are pico-dollars a token.
const fn per_million(micros: u64) -> Option<Rate> {
    Some(Rate::from_picos(micros))
}

/// Micro-dollars a unit.
const fn per_unit(micros: u64) -> Option<Rate> {
    Some(Rate::from_picos(micros * 1_000_000))
}

const fn tokens(input: u64, output: u64) -> Rates {
    Rates { input: per_million(input), output: per_million(output), ..Rates::NONE }
}

const fn cached(input: u64, cached: u64, output: u64) -> Rates {
    Rates { cached_input: per_million(cached), ..tokens(input, output) }
}

const fn text(id: &'static str, kind: Kind, upstream: &'static str, ceiling: u64, price: KnownPrice) -> Known {
    Known { id, kind, upstream, modality: Modality::Text, ceiling: Some(ceiling), price }
}

const fn media(id: &'static str, kind: Kind, upstream: &'static str, modality: Modality, price: KnownPrice) -> Known {
    Known { id, kind, upstream, modality, ceiling: None, price }
}

use KnownPrice::{Flat, InputOver, Resolution, Unpriced};
use Modality::{Image, Video, Voice};

/// The table. Prices in micro-dollars: per million tokens, or a unit.
pub const KNOWN: [Known; 16] = [
    text("gpt-4o", Kind::OpenAi, "gpt-4o", 16_384, Flat(cached(2_500_000, 1_250_000, 10_000_000))),
    text(
        "claude-3-opus",
        Kind::Anthropic,
        "claude-3-opus-20240229",
        4_096,
        Flat(Rates { cache_write: per_million(18_750_000), ..cached(15_000_000, 1_500_000, 75_000_000) }),
    ),
    text(
        "gemini-1.5-pro",
        Kind::Gemini,
        "gemini-1.5-pro",
        8_192,
        InputOver(128_000, tokens(2_500_000, 10_000_000), tokens(1_250_000, 5_000_000)),
    ),
    text("qwen-max", Kind::DashScope, "qwen-max", 8_192, Flat(tokens(1_600_000, 6_400_000))),
    text("kimi-k2", Kind::Moonshot, "kimi-k2.6", 32_768, Flat(cached(950_000, 160_000, 4_000_000))),
    text("doubao-pro", Kind::Ark, "doubao-seed-2-1-pro-260915", 32_768, Flat(cached(862_500, 172_500, 4_312_500))),
    media(
        "google-image",
        Kind::Gemini,
        "gemini-2.5-flash-image",
        Image,
        Flat(Rates { per_image: per_unit(39_000), ..Rates::NONE }),
    ),
    media(
        "openai-image",
        Kind::OpenAi,
        "gpt-image-2",
        Image,
        Flat(Rates {
            input: per_million(5_000_000),
            image_input: per_million(8_000_000),
            image_output: per_million(30_000_000),
            ..Rates::NONE
        }),
    ),
    media("minimax-image", Kind::MiniMax, "image-01", Image, Unpriced),
    media("bytedance-image", Kind::Ark, "doubao-seedream-4-5-251128", Image, Unpriced),
    media("minimax-video", Kind::MiniMax, "MiniMax-Hailuo-2.3", Video, Unpriced),
    media("kling-video", Kind::Kling, "kling-v3", Video, Unpriced),
    media("bytedance-video", Kind::Ark, "doubao-seedance-1-5-pro-251215", Video, Unpriced),
    media(
        "veo",
        Kind::Gemini,
        "veo-3.1-generate-001",
        Video,
        Resolution(
            "4k",
            Rates { per_video_second: per_unit(600_000), ..Rates::NONE },
            Rates { per_video_second: per_unit(400_000), ..Rates::NONE },
        ),
    ),
    media(
        "whisper-asr",
        Kind::OpenAi,
        "whisper-1",
        Voice,
        Flat(Rates { per_audio_second: per_unit(100), ..Rates::NONE }),
    ),
    media("openai-tts", Kind::OpenAi, "tts-1", Voice, Flat(Rates { per_character: per_unit(15), ..Rates::NONE })),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::price::Options;
    use crate::domain::usage::Usage;

    /// What `usage` of the model costs, in nano-dollars.
    fn cost(id: &str, usage: Usage, options: &Options) -> Option<u64> {
        known(id).unwrap().terms().price.cost(&usage, options).map(|cost| cost.as_nanos())
    }

    #[test]
    fn prices_are_those_that_were_published() {
        const MILLION: u64 = 1_000_000;
        let input = Usage { input_tokens: MILLION, ..Usage::NONE };
        let cached = Usage { cached_input_tokens: MILLION, ..input };
        let output = Usage { output_tokens: MILLION, ..Usage::NONE };
        let written = Usage { cache_write_tokens: MILLION, ..input };
        let drawn = Usage { image_output_tokens: MILLION, ..output };
        let shown = Usage { image_input_tokens: MILLION, ..input };
        for (id, usage, millis) in [
            ("gpt-4o", input, 2_500),
            ("gpt-4o", cached, 1_250),
            ("gpt-4o", output, 10_000),
            ("claude-3-opus", cached, 1_500),
            ("claude-3-opus", written, 18_750),
            ("claude-3-opus", output, 75_000),
            ("gemini-1.5-pro", input, 2_500),
            ("gemini-1.5-pro", output, 5_000),
            ("qwen-max", output, 6_400),
            ("kimi-k2", cached, 160),
            ("openai-image", drawn, 30_000),
            ("openai-image", shown, 8_000),
            ("google-image", Usage { images: 1_000, ..Usage::NONE }, 39_000),
            ("veo", Usage { video_seconds: 10, ..Usage::NONE }, 4_000),
            ("whisper-asr", Usage { audio_seconds: 10_000, ..Usage::NONE }, 1_000),
            ("openai-tts", Usage { characters: MILLION, ..Usage::NONE }, 15_000),
        ] {
            assert_eq!(cost(id, usage, &Options::default()), Some(millis * 1_000_000), "{id} {usage:?}");
        }
        assert_eq!(cost("doubao-pro", input, &Options::default()), Some(862_500_000));
        assert_eq!(cost("kling-video", input, &Options::default()), None);
    }

    #[test]
    fn dearer_tiers_begin_where_the_vendor_says() {
        let four_k = Options { resolution: Some("4k".into()), ..Options::default() };
        assert_eq!(cost("veo", Usage { video_seconds: 10, ..Usage::NONE }, &four_k), Some(6_000_000_000));
        let at = |n| cost("gemini-1.5-pro", Usage { input_tokens: n, ..Usage::NONE }, &Options::default());
        assert_eq!((at(128_000), at(128_001)), (Some(160_000_000), Some(320_002_500)));
    }

    #[test]
    fn ids_are_distinct_and_a_text_model_has_a_ceiling() {
        let mut ids: Vec<_> = KNOWN.iter().map(|model| model.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), KNOWN.len());
        for model in &KNOWN {
            assert_eq!(model.modality == Modality::Text, model.terms().max_output_tokens.is_some(), "{}", model.id);
        }
    }
}
