//! `/v1/images/generations` and `/v1/images/edits`.
//!
//! OpenAI's pictures pass through, whole or streamed, and are counted on the way. Only what its models do not know is
//! taken out of the request: seeds and the like, with a warning. A `url` asked of a model that has none becomes a `data:`
//! URL. Ark's Seedream has fields of its own and makes one picture a call.
//!
//! | field | OpenAI | Ark |
//! |---|---|---|
//! | `prompt` | at most 32,000 characters; 4,000 dall-e-3; 1,000 dall-e-2 | as it is |
//! | `n` | at most 10; 1 dall-e-3 | a call each, side by side, at most 10 |
//! | `size` | the nearest that the model has, with a warning | scaled into the model's range of pixels, with a warning |
//! | `quality` | a word that the model does not have: 400, or the next one up where the model's options are `nearest` | left out |
//! | `image` | a 400 but in edits | sent along |
//! | `watermark` | left out | none unless asked for |
//! | `seed` | left out | by Seedream 3 alone |
//! | `stream` | passed through, no dall-e; at most three `partial_images` | 400 |

mod ark;
mod model;
mod read;
mod request;
mod stream;

#[cfg(test)]
mod tests;

use crate::base::error::Error;
use crate::domain::usage::Usage;
use crate::http::call::Call;
use crate::provider::traits::{Exchange, MadeAs, Target};

use super::dialect::Dialect;

pub(super) use stream::Stream;

/// Translates the call.
pub(super) fn encode(dialect: Dialect, call: &Call, target: &Target) -> Result<Exchange, Error> {
    match dialect {
        Dialect::Ark => ark::encode(call, target),
        _ => request::encode(dialect, call, target),
    }
}

/// What an answer that passes through is counted to.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// Pictures that were asked for, and that have come.
    pub(super) asked: u64,
    pub(super) pictures: u64,
    pub(super) tokens: Usage,
    /// Whether the model's price goes by tokens. Where it does not, they count nowhere, as they were not held either.
    pub(super) by_token: bool,
    /// What was made, as far as it was changed on the way there or the answer tells it.
    pub(super) made_as: MadeAs,
}

impl Counts {
    fn of(call: &Call, target: &Target) -> Self {
        let asked = call.facts().n.as_ref().map_or(1, |n| n.value);
        Self { asked, by_token: target.terms.price.prices_tokens(), ..Self::default() }
    }

    /// The units that count.
    pub(super) fn usage(&self) -> Usage {
        let tokens = if self.by_token { self.tokens } else { Usage::NONE };
        Usage { images: self.pictures, ..tokens }
    }
}
