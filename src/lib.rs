//! The behaviour of an OpenAI-compatible AI gateway, as tower layers and one tower service.
//!
//! A server that you already run (axum, hyper, tonic) gets keys, quotas and metering by `.layer(…)`, and many vendors
//! behind one API by a service beside its own routes. The caller names the exact model and gets exactly that. Limits and
//! spend caps hold at every instant; usage and cost are exact to the nano-dollar; each request is on record once.
//!
//! # One request
//!
//! ```text
//! caller ─▶ AuthLayer ─▶ MeteringLayer ─▶ InspectLayer ─▶ QuotaLayer ─▶ ProviderRouteService ─▶ client ─▶ vendor
//!           Caller       Meter            Call            (hold)        answers through the model's codec
//! ```
//!
//! Each layer is generic over body and inner service, keeps the inner service's error type, and works alone: see
//! [`auth`], [`metering`], [`inspect`], [`quota`] and [`route`] for what it wants outside of it and how it fails.
//! [`Gateway`] stacks them as above.
//!
//! ```
//! # #[cfg(feature = "client")] {
//! use std::sync::Arc;
//! use axum::{Router, routing::post};
//! use kancy::{Gateway, HyperClient, KancyAuth, MemoryKeys, Registry};
//!
//! fn app(keys: Arc<MemoryKeys>) -> Router {
//!     let gateway = Gateway::builder(Registry::offline(), HyperClient::new()).keys(Arc::clone(&keys)).build();
//!     Router::new()
//!         .route("/summaries", post(|| async { "short" })) // a route of your own …
//!         .layer(KancyAuth::new(keys))                      // … asks for a key,
//!         .nest_service("/v1", gateway)                     // and the gateway stands beside it
//! }
//! # }
//! ```
//!
//! # Stores
//!
//! Keys, counters and ledger live behind traits: [`KeyStore`] and [`KeyAdmin`], [`QuotaStore`], [`UsageSink`] and
//! [`UsageStore`]. The in-memory ones are always there. A store of your own proves itself with the suites of
//! `store::contract` (feature `testing`).
//!
//! # Features
//!
//! The default set has no tokio, hyper, TLS or web framework.
//!
//! | feature | brings | pulls in |
//! |---|---|---|
//! | `client` | [`HyperClient`] | tokio, hyper, hyper-util, hyper-rustls, rustls (ring), webpki-roots |
//! | `config` | [`Config`], the TOML file of the gateway | toml |
//! | `postgres` | [`PostgresStore`]: keys, limits, ledger, counters, video jobs and webhooks that many instances share; [`Guarded`] | tokio, tokio-postgres, deadpool-postgres |
//! | `redis` | [`RedisQuota`]: counters that many instances share; [`Guarded`] | tokio, redis |
//! | `sqlite` | [`SqliteStore`]: keys, limits, ledger, video jobs and webhooks in one file | rusqlite with SQLite's C source |
//! | `testing` | `store::contract` | |
//! | `tracing` | events for operators, under the target `kancy` | tracing |
//! | `full` | all of these | |

#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]
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
pub use base::host::Host;
pub use base::money::{Money, ParseMoneyError, Rate};
pub use base::secret::Secret;
pub use base::short_id::Id;
pub use base::store_future::StoreFuture;
#[cfg(feature = "client")]
pub use client::{HyperClient, TokioHost};
#[cfg(feature = "config")]
pub use config::{Config, ConfigError};
pub use domain::caller::{Caller, ModelPatterns};
pub use domain::job::{Job, JobState};
pub use domain::key::{KeyRecord, MintedKey, NewKey};
pub use domain::limit::{Amounts, Limit, LimitKey, Measure, Mode, OnStoreFailure, Per, Scope};
pub use domain::limit_book::LimitBook;
pub use domain::modality::Modality;
pub use domain::model::{Catalog, ModelTerms};
pub use domain::name::Name;
pub use domain::pepper::Pepper;
pub use domain::price::{Price, Rates};
pub use domain::record::{Outcome, UsageRecord};
pub use domain::usage::Usage;
pub use gateway::{Gateway, GatewayBuilder};
pub use http::fetch::{ContentHosts, Fetch};
pub use http::meter::{Abandoned, Meter};
pub use inspect::InspectLayer;
pub use jobs::{JobRules, OnUnknown, VideoJobs};
pub use metering::{Closing, MeteringLayer};
pub use provider::anthropic::Anthropic;
pub use provider::echo::Echo;
pub use provider::gemini::Gemini;
pub use provider::minimax::MiniMax;
pub use provider::openai::{Dialect, OpenAi};
pub use provider::registry::Registry;
pub use provider::traits::{Credential, CredentialSource, Provider, Target};
pub use quota::QuotaLayer;
pub use route::{Drain, ProviderRouteService, VendorClient};
pub use store::error::{StoreError, StoreErrorKind};
pub use store::grant::Grant;
#[cfg(feature = "_tokio")]
pub use store::guarded::Guarded;
pub use store::jobs::{JobStore, Outbox};
pub use store::keys::{KeyAdmin, KeyFilter, KeyStore};
pub use store::ledger::{UsageSink, UsageStore};
pub use store::memory::alerts::MemoryAlerts;
pub use store::memory::audit::MemoryAudit;
pub use store::memory::jobs::MemoryJobs;
pub use store::memory::keys::MemoryKeys;
pub use store::memory::ledger::MemoryLedger;
pub use store::memory::limits::MemoryLimits;
pub use store::memory::quota::MemoryQuota;
pub use store::memory::webhooks::MemoryEndpoints;
#[cfg(feature = "postgres")]
pub use store::postgres::{PostgresOptions, PostgresStore};
pub use store::quota::{Decision, QuotaStore, Reservation};
#[cfg(feature = "redis")]
pub use store::redis::RedisQuota;
#[cfg(feature = "sqlite")]
pub use store::sqlite::{SqliteOptions, SqliteStore};
pub use store::tables::{Page, PageOf};
pub use store::webhooks::EndpointStore;
pub use webhook::Webhooks;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
