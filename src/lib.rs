//! kancy: the behaviour of an OpenAI-compatible AI gateway, as tower layers and one tower service.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod admin;
pub mod auth;
pub mod base;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "config")]
pub mod config;
pub mod domain;
pub mod gateway;
pub mod http;
pub mod inspect;
pub mod jobs;
pub mod metering;
pub mod provider;
pub mod quota;
pub mod route;
pub mod store;
pub mod webhook;
pub mod wire;

pub use admin::{AdminService, AdminStores, UsageService};
pub use auth::{AuthLayer, AuthService, KancyAuth};
pub use base::clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use base::error::{Code, Error, GrpcStatus, Origin};
pub use base::money::{Money, ParseMoneyError, Rate};
pub use base::secret::Secret;
pub use base::store_future::StoreFuture;
#[cfg(feature = "client")]
pub use client::HyperClient;
#[cfg(feature = "config")]
pub use config::{Config, ConfigError};
pub use domain::caller::{Caller, ModelPatterns};
pub use domain::key::{KeyRecord, MintedKey, NewKey};
pub use domain::limit::{Amounts, Limit, LimitKey, Measure, Mode, OnStoreFailure, Per, Scope};
pub use domain::limit_book::LimitBook;
pub use domain::modality::Modality;
pub use domain::model::{Catalog, ModelTerms};
pub use domain::name::Name;
pub use domain::record::{Outcome, UsageRecord};
pub use domain::usage::Usage;
pub use gateway::{Gateway, GatewayBuilder};
pub use http::meter::{Abandoned, Meter};
pub use inspect::InspectLayer;
pub use metering::{Closing, MeteringLayer};
pub use provider::anthropic::Anthropic;
pub use provider::echo::Echo;
pub use provider::gemini::Gemini;
pub use provider::openai::{Dialect, OpenAi};
pub use provider::registry::Registry;
pub use quota::QuotaLayer;
pub use route::{Drain, ProviderRouteService};
pub use store::error::{StoreError, StoreErrorKind};
pub use store::keys::{KeyAdmin, KeyFilter, KeyStore};
pub use store::ledger::{UsageSink, UsageStore};
pub use store::memory::alerts::MemoryAlerts;
pub use store::memory::audit::MemoryAudit;
pub use store::memory::keys::MemoryKeys;
pub use store::memory::ledger::MemoryLedger;
pub use store::memory::limits::MemoryLimits;
pub use store::memory::quota::MemoryQuota;
pub use store::quota::QuotaStore;
pub use store::tables::{Page, PageOf};
