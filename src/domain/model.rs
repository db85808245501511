//! What the gateway knows of a model: its modality, its ceilings and its price.

use std::fmt;
use std::sync::Arc;

use super::abilities::Abilities;
use super::modality::Modality;
use super::price::Price;

/// The terms on which a model is offered. The price is frozen into a request when it is admitted.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ModelTerms {
    /// The id that callers name.
    pub id: Arc<str>,
    /// What it works on.
    pub modality: Modality,
    /// What its units cost.
    pub price: Price,
    /// The model's output ceiling, in tokens; `None` = not known, and a request without a bound of its own is refused under a token or spend limit.
    pub max_output_tokens: Option<u64>,
    /// Added to a hold where the vendor's own bound leaves reasoning out, in tokens.
    pub max_reasoning_tokens: u64,
    /// The hold of one image, audio or file part of a request, in tokens.
    pub max_part_tokens: u64,
    /// What to do with a media option that the vendor cannot honour.
    pub options: OptionPolicy,
    /// What a video model has, so that a hold knows what a request becomes. The registry fills it in for the kinds that it knows.
    pub video: Option<Abilities>,
}

impl ModelTerms {
    /// Terms with the contract's defaults: unpriced, no ceiling, 50,000 tokens a part.
    pub fn new(id: impl Into<Arc<str>>, modality: Modality) -> Self {
        Self {
            id: id.into(),
            modality,
            price: Price::Unpriced,
            max_output_tokens: None,
            max_reasoning_tokens: 0,
            max_part_tokens: 50_000,
            options: OptionPolicy::Strict,
            video: None,
        }
    }
}

/// What becomes of a media option that the vendor does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OptionPolicy {
    /// 400, naming what is allowed.
    #[default]
    Strict,
    /// The next allowed value up, reported in `warnings`.
    Nearest,
}

/// Where the layers look models up. The provider registry is one; a host that only meters may write its own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a model catalog",
    note = "use `Registry`, or implement `Catalog` for your own table"
)]
pub trait Catalog: fmt::Debug + Send + Sync + 'static {
    /// The terms of the model with exactly this id.
    fn terms(&self, id: &str) -> Option<Arc<ModelTerms>>;
}

impl<T: Catalog + ?Sized> Catalog for Arc<T> {
    fn terms(&self, id: &str) -> Option<Arc<ModelTerms>> {
        (**self).terms(id)
    }
}
