//! `[models."ID"]`: where a model runs and on what terms, over the built-in table of known ids.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::modality::Modality;
use crate::domain::model::{ModelTerms, OptionPolicy};
use crate::provider::kind::Kind;
use crate::provider::known::{KNOWN, Known, known};

use super::price;
use super::providers::ProviderConfig;
use super::section::{Result, Section};

/// A model of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The name of its provider.
    pub provider: Arc<str>,
    /// The vendor's id of it.
    pub upstream: Arc<str>,
    /// Its id and the terms on which it is offered.
    pub terms: ModelTerms,
}

impl ModelConfig {
    fn known(model: &Known, provider: &ProviderConfig) -> Self {
        Self { provider: Arc::clone(&provider.name), upstream: model.upstream.into(), terms: model.terms() }
    }
}

/// What a `modality` may be.
pub(super) const MODALITY: &str = "a modality: use text, image, video, voice or embedding";

/// The models of the file, and the known ones that it does not mention.
pub(super) fn models(section: Section<'_>, providers: &[ProviderConfig]) -> Result<Vec<ModelConfig>> {
    let mut models = Vec::new();
    let mut named = BTreeSet::new();
    for (id, section) in section.named()? {
        models.push(model(&id, section, providers)?);
        named.insert(id);
    }
    models.extend(implied(providers).into_iter().filter(|model| !named.contains(&*model.terms.id)));
    Ok(models)
}

/// The known models of kinds that exactly one provider has.
pub(super) fn implied(providers: &[ProviderConfig]) -> Vec<ModelConfig> {
    KNOWN.iter().filter_map(|model| Some(ModelConfig::known(model, sole(providers, model.kind)?))).collect()
}

/// The provider of `kind`, where there is no other.
fn sole(providers: &[ProviderConfig], kind: Kind) -> Option<&ProviderConfig> {
    let mut of_kind = providers.iter().filter(|provider| provider.kind == kind);
    of_kind.next().filter(|_| of_kind.next().is_none())
}

fn model(id: &str, section: Section<'_>, providers: &[ProviderConfig]) -> Result<ModelConfig> {
    let mut section = section.only(&[
        "provider",
        "upstream",
        "modality",
        "max_output_tokens",
        "max_reasoning_tokens",
        "max_part_tokens",
        "price",
        "price_tier",
        "options",
    ])?;
    let builtin = known(id);
    let find = |name: &str| providers.iter().find(|provider| *provider.name == *name);
    let provider = section
        .parse("provider", "a provider of this file: name it as in [providers.NAME]", find)?
        .or_else(|| sole(providers, builtin?.kind))
        .ok_or_else(|| section.missing("provider"))?;
    let mut terms = builtin.map_or_else(|| ModelTerms::new(id, Modality::Text), Known::terms);
    if let Some(modality) = section.parse("modality", MODALITY, |text| text.parse().ok())? {
        terms.modality = modality;
    }
    let upstream = section.string("upstream")?;
    terms.max_output_tokens = section.number("max_output_tokens", 1)?.or(terms.max_output_tokens);
    terms.max_reasoning_tokens = section.number("max_reasoning_tokens", 0)?.unwrap_or(terms.max_reasoning_tokens);
    terms.max_part_tokens = section.number("max_part_tokens", 0)?.unwrap_or(terms.max_part_tokens);
    terms.price = price::price(&mut section, terms.price)?;
    let policies = [("strict", OptionPolicy::Strict), ("nearest", OptionPolicy::Nearest)];
    terms.options = section.word("options", &policies)?.unwrap_or(terms.options);
    Ok(ModelConfig {
        provider: Arc::clone(&provider.name),
        upstream: upstream.map_or_else(|| builtin.map_or(id, |model| model.upstream).into(), Arc::from),
        terms,
    })
}
