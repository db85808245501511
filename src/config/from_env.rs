//! The configuration of a start without a file: whatever credentials are in the environment, and the offline models.

use std::sync::Arc;

use crate::base::secret::Secret;
use crate::provider::echo::demo_models;
use crate::provider::kind::Kind;
use crate::provider::traits::Credential;

use super::models::{ModelConfig, implied};
use super::providers::ProviderConfig;
use super::{Config, ConfigError};

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
            models.extend(demo_models().into_iter().map(|terms| ModelConfig {
                provider: echo.name.clone(),
                upstream: Arc::clone(&terms.id),
                terms,
            }));
            providers.push(echo);
        }
        Ok(Self { providers, models, ..Self::default() })
    }
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
