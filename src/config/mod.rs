//! The gateway's configuration, as plain values: a TOML file read strictly, or what the environment offers.
//!
//! A gateway that starts on a misread file is worse than one that does not start. So every key is checked: an unknown
//! one, a wrong type, an unset `"env:NAME"`, a limit named twice, a negative amount each stop the reading with one line
//! that names the key and the reason, and shows no secret.
//!
//! ```
//! use kancy::config::Config;
//!
//! let file = r#"
//!     [providers.openai]
//!     kind = "openai"
//!     api_key = "env:OPENAI_API_KEY"
//!
//!     [[limits]]
//!     scope = "workspace:acme"
//!     measure = "spend"
//!     amount = "100.00"
//!     per = "month"
//! "#;
//! let config = Config::parse(file, |name| (name == "OPENAI_API_KEY").then(|| "sk-1".to_owned()))?;
//! assert!(config.models.iter().any(|model| &*model.terms.id == "gpt-4o"));
//!
//! let error = Config::parse(file, |_| None).unwrap_err();
//! assert_eq!(error.to_string(), "providers.openai.api_key: the environment variable OPENAI_API_KEY is not set");
//! # Ok::<(), kancy::config::ConfigError>(())
//! ```
//!
//! Nothing here reads a file or the environment itself, opens a store or builds a service: the environment is a function
//! that the host passes, and what comes out is for the host to assemble.

mod assemble;
mod error;
mod file_keys;
mod from_env;
mod keys;
mod limits;
mod models;
mod price;
mod providers;
mod section;
mod server;
mod stores;
#[cfg(test)]
mod tests;
mod url;
mod webhooks;

use crate::domain::key::KeyRecord;
use crate::domain::limit::Limit;

pub use error::ConfigError;
pub use models::ModelConfig;
pub use providers::ProviderConfig;
pub use server::{AdminConfig, DeliveryConfig, GatewayConfig, JobsConfig, OnDisconnect, StorageConfig, StorageUrl};
pub use stores::Stores;
pub use webhooks::WebhookConfig;

use section::Section;

/// A whole configuration. [`Default`] is that of an empty file.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// `[storage]`
    pub storage: StorageConfig,
    /// `[gateway]`
    pub gateway: GatewayConfig,
    /// `[admin]`; `None` = no admin routes.
    pub admin: Option<AdminConfig>,
    /// `[providers.NAME]`, by name.
    pub providers: Vec<ProviderConfig>,
    /// `[models."ID"]`, and the known models whose kind exactly one provider has.
    pub models: Vec<ModelConfig>,
    /// `[[keys]]`. Their `created_at` is the epoch: when they came in is for whoever stores them to say.
    pub keys: Vec<KeyRecord>,
    /// `[[limits]]`, with the names of keys resolved to their ids.
    pub limits: Vec<Limit>,
    /// `[jobs]`
    pub jobs: JobsConfig,
    /// `[delivery]`
    pub delivery: DeliveryConfig,
    /// `[[webhooks]]`
    pub webhooks: Vec<WebhookConfig>,
}

const SECTIONS: [&str; 10] =
    ["storage", "gateway", "admin", "providers", "models", "keys", "limits", "jobs", "delivery", "webhooks"];

impl Config {
    /// Reads a file's text; `env` looks up the variables that it names.
    pub fn parse(text: &str, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let table = text.parse::<toml::Table>().map_err(|error| ConfigError::syntax(text, &error))?;
        let mut file = Section::root(table, &env).only(&SECTIONS)?;
        let admin = if file.has("admin") { Some(server::admin(file.section("admin")?)?) } else { None };
        let providers = file.section("providers")?.named()?;
        let providers = providers
            .into_iter()
            .map(|(name, section)| providers::provider(&name, section))
            .collect::<Result<Vec<_>, _>>()?;
        let models = models::models(file.section("models")?, &providers)?;
        let keys = keys::keys(file.each("keys")?)?;
        let limits = limits::limits(file.each("limits")?, &keys)?;
        Ok(Self {
            storage: server::storage(file.section("storage")?)?,
            gateway: server::gateway(file.section("gateway")?)?,
            admin,
            providers,
            models,
            keys,
            limits,
            jobs: server::jobs(file.section("jobs")?)?,
            delivery: server::delivery(file.section("delivery")?)?,
            webhooks: file.each("webhooks")?.into_iter().map(webhooks::webhook).collect::<Result<_, _>>()?,
        })
    }
}
