//! What OpenAI's image models can do, by the start of their ids.

use crate::base::error::Error;
use crate::domain::model::OptionPolicy;
use crate::wire::images::{ImageRequest, Size, nearest};
use crate::wire::openai_request::invalid;

/// A family of models.
#[derive(Debug)]
pub(super) struct Model {
    prefix: &'static str,
    pub(super) max_prompt: usize,
    pub(super) max_n: u64,
    sizes: Sizes,
    /// From the least to the best; where the model knows no `auto`, the first is what it makes unasked.
    pub(super) qualities: &'static [&'static str],
    /// The soft options that it has, beside `quality`.
    pub(super) options: &'static [&'static str],
    /// Whether it knows `response_format`; the others give base64.
    pub(super) has_form: bool,
    /// Whether it works from pictures.
    pub(super) edits: bool,
}

#[derive(Debug)]
enum Sizes {
    These(&'static [Size]),
    /// Whole multiples of 16, of no shape longer than 3:1.
    Any,
}

const GPT_OPTIONS: &[&str] =
    &["background", "output_format", "output_compression", "moderation", "input_fidelity", "partial_images", "user"];

const GPT: Model = Model {
    prefix: "gpt-image",
    max_prompt: 32_000,
    max_n: 10,
    sizes: Sizes::These(&[Size::new(1024, 1024), Size::new(1536, 1024), Size::new(1024, 1536)]),
    qualities: &["low", "medium", "high"],
    options: GPT_OPTIONS,
    has_form: false,
    edits: true,
};

/// Longer prefixes stand before the shorter ones that they extend.
const MODELS: &[Model] = &[
    Model { prefix: "gpt-image-2", sizes: Sizes::Any, ..GPT },
    GPT,
    Model { prefix: "chatgpt-image", ..GPT },
    Model {
        prefix: "dall-e-3",
        max_prompt: 4_000,
        max_n: 1,
        sizes: Sizes::These(&[Size::new(1024, 1024), Size::new(1792, 1024), Size::new(1024, 1792)]),
        qualities: &["standard", "hd"],
        options: &["style", "user"],
        has_form: true,
        edits: false,
    },
    Model {
        prefix: "dall-e-2",
        max_prompt: 1_000,
        max_n: 10,
        sizes: Sizes::These(&[Size::new(256, 256), Size::new(512, 512), Size::new(1024, 1024)]),
        qualities: &["standard"],
        options: &["user"],
        has_form: true,
        edits: true,
    },
];

/// The most pixels of a picture, and about the fewest.
const PIXELS: (u64, u64) = (655_360, 8_294_400);
const LONGEST: u32 = 3_840;

impl Model {
    /// The family of an upstream id; `None` for one that is not known, of which nothing is refused and nothing changed.
    pub(super) fn of(upstream: &str) -> Option<&'static Self> {
        MODELS.iter().find(|model| upstream.starts_with(model.prefix))
    }

    /// The size that the model has for the one asked.
    pub(super) fn size(&self, wanted: Size) -> Size {
        match self.sizes {
            Sizes::These(sizes) => nearest(wanted, sizes, |size| *size).copied().unwrap_or(wanted),
            Sizes::Any => {
                let longest = |side: u32, other: u32| side.min(other.saturating_mul(3)).min(LONGEST);
                let shape = Size::new(longest(wanted.width, wanted.height), longest(wanted.height, wanted.width));
                let whole = shape.width.is_multiple_of(16) && shape.height.is_multiple_of(16);
                if whole && (PIXELS.0..=PIXELS.1).contains(&shape.pixels()) {
                    return shape;
                }
                let made = shape.within(PIXELS.0, PIXELS.1, 16);
                Size::new(made.width.min(LONGEST), made.height.min(LONGEST))
            }
        }
    }

    /// The quality to send in the place of the one asked; `None` leaves it as it is. One that the model does not have is
    /// refused, or becomes the next one up, as `policy` says.
    pub(super) fn quality(
        &self,
        request: &ImageRequest<'_>,
        policy: OptionPolicy,
        warnings: &mut Vec<String>,
    ) -> Result<Option<&'static str>, Error> {
        let Some(wanted) = request.quality.as_deref() else {
            // `auto` is a word of the newer models alone; it is what happens without it.
            return Ok(None);
        };
        if self.qualities.contains(&wanted) {
            return Ok(None);
        }
        let rank = match wanted {
            "low" => 0usize,
            "medium" | "standard" => 1,
            "high" | "hd" => 2,
            _ => return Err(self.no_quality()),
        };
        // Of three, the rank itself; of two, the upper for the uppermost alone.
        let best = self.qualities.len() - 1;
        let at = if best == 2 { rank } else { rank.saturating_sub(1).min(best) };
        let next = self.qualities[at];
        match policy {
            OptionPolicy::Strict => Err(self.no_quality()),
            OptionPolicy::Nearest => {
                warnings.push(format!("\"quality\" {wanted:?} was made as {next:?}, the next that this model has."));
                Ok(Some(next))
            }
        }
    }

    fn no_quality(&self) -> Error {
        invalid("quality", format_args!("this model has {}, or leave it out", self.qualities.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_hides_a_longer_one_behind_it() {
        for (at, row) in MODELS.iter().enumerate() {
            assert!(!MODELS[at + 1..].iter().any(|later| later.prefix.starts_with(row.prefix)), "{}", row.prefix);
        }
    }

    #[test]
    fn every_size_becomes_one_that_the_model_has() {
        let size = |model: &str, width, height| Model::of(model).unwrap().size(Size::new(width, height)).to_string();
        for (model, asked, made) in [
            ("gpt-image-2", (1536, 1024), "1536x1024"),
            ("gpt-image-2-2026-04-21", (3840, 2160), "3840x2160"),
            ("gpt-image-2", (1000, 1000), "992x992"),
            ("gpt-image-2", (256, 256), "816x816"),
            ("gpt-image-2", (4096, 4096), "2880x2880"),
            ("gpt-image-1.5", (1536, 1024), "1536x1024"),
            ("gpt-image-1", (1792, 1024), "1536x1024"),
            ("gpt-image-1-mini", (512, 512), "1024x1024"),
            ("dall-e-3", (1536, 1024), "1792x1024"),
            ("dall-e-2", (1536, 1024), "1024x1024"),
            ("dall-e-2", (300, 300), "256x256"),
        ] {
            assert_eq!(size(model, asked.0, asked.1), made, "{model} {asked:?}");
        }
        let wide = Model::of("gpt-image-2").unwrap().size(Size::new(10_000, 100));
        assert!(wide.width <= LONGEST && wide.ratio() <= 3.1, "{wide}");
        assert!(Model::of("grok-imagine").is_none());
    }
}
