//! The offline models, so that every endpoint works without the internet.

use crate::domain::modality::Modality;
use crate::domain::model::ModelTerms;
use crate::domain::price::Price;

/// The chat model's output ceiling, in tokens: with it a request under a token limit needs no bound of its own.
const CEILING: u64 = 4_096;

/// The terms of `demo-chat`, `demo-image`, `demo-video`, `demo-tts`, `demo-asr` and `demo-embedding`: free.
pub fn demo_models() -> [ModelTerms; 6] {
    [
        ("demo-chat", Modality::Text),
        ("demo-image", Modality::Image),
        ("demo-video", Modality::Video),
        ("demo-tts", Modality::Voice),
        ("demo-asr", Modality::Voice),
        ("demo-embedding", Modality::Embedding),
    ]
    .map(|(id, modality)| {
        let mut terms = ModelTerms::new(id, modality);
        terms.price = Price::Free;
        terms.max_output_tokens = (modality == Modality::Text).then_some(CEILING);
        terms
    })
}
