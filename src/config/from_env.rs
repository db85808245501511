//! The configuration of a start without a file: whatever credentials are in the environment, and the offline models.

use crate::base::secret::Secret;
use crate::domain::modality::Modality;
use crate::domain::model::ModelTerms;
use crate::domain::price::Price;
use crate::provider::kind::Kind;
use crate::provider::traits::Credential;

use super::models::{ModelConfig, implied};
use super::providers::ProviderConfig;
use super::{Config, ConfigError};

/// The models that the offline provider answers, so that every endpoint works without the internet.
pub const DEMO_MODELS: [(&str, Modality); 6] = [
    ("demo-chat", Modality::Text),
    ("demo-image", Modality::Image),
    ("demo-video", Modality::Video),
    ("demo-tts", Modality::Voice),
    ("demo-asr", Modality::Voice),
    ("demo-embedding", Modality::Embedding),
];

/// The offline chat model's output ceiling, in tokens: with it a request under a token limit needs no bound of its own.
const DEMO_CEILING: u64 = 4_096;

impl Config {
    /// The configuration of a start without a file: SQLite in `kancy.db`, a provider for each credential that `env`
    /// has, the known models of those, and the offline demo models, which are free.
    ///
    /// An empty variable counts as unset; one that cannot be a credential is an error.
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut providers = Vec::new();
        for kind in Kind::ALL {
            providers.extend(credential(kind, &env)?.and_then(|found| ProviderConfig::of_kind(kind, found)));
        }
        let mut models = implied(&providers);
        if let Some(echo) = ProviderConfig::of_kind(Kind::Echo, Credential::None) {
            models.extend(DEMO_MODELS.map(|(id, modality)| demo(id, modality, &echo)));
            providers.push(echo);
        }
        Ok(Self { providers, models, ..Self::default() })
    }
}

fn demo(id: &str, modality: Modality, echo: &ProviderConfig) -> ModelConfig {
    let mut terms = ModelTerms::new(id, modality);
    terms.price = Price::Free;
    terms.max_output_tokens = (modality == Modality::Text).then_some(DEMO_CEILING);
    ModelConfig { provider: echo.name.clone(), upstream: id.into(), terms }
}

fn credential(kind: Kind, env: &impl Fn(&str) -> Option<String>) -> Result<Option<Credential>, ConfigError> {
    let read = |name: &str| match env(name).filter(|value| !value.is_empty()) {
        Some(value) if !value.bytes().all(|b| b.is_ascii_graphic()) => {
            Err(ConfigError::new(name, "holds a space, a line break or a character that is not ASCII"))
        }
        value => Ok(value.map(Secret::from)),
    };
    let Some(variable) = kind.api_key_variable() else { return Ok(None) };
    if let Some(key) = read(variable)? {
        return Ok(Some(Credential::ApiKey(key)));
    }
    if kind != Kind::Kling {
        return Ok(None);
    }
    let pair = (read("KLING_ACCESS_KEY")?, read("KLING_SECRET_KEY")?);
    Ok(match pair {
        (Some(access), Some(secret)) => Some(Credential::AccessKey { access, secret }),
        _ => None,
    })
}
