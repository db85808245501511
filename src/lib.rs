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
pub mod metering;
pub mod provider;
pub mod quota;
pub mod route;
pub mod store;
pub mod wire;

pub use base::clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use base::error::{Code, Error, GrpcStatus, Origin};
pub use base::money::{Money, ParseMoneyError, Rate};
pub use base::secret::Secret;
pub use base::store_future::StoreFuture;
pub use domain::caller::Caller;
pub use domain::limit::{Amounts, Limit, LimitKey, Measure, Mode, Per, Scope};
pub use domain::limit_book::LimitBook;
pub use domain::modality::Modality;
pub use domain::record::{Outcome, UsageRecord};
pub use domain::usage::Usage;
pub use http::meter::Meter;
pub use provider::anthropic::Anthropic;
