//! What the gateway talks about, as plain values and pure arithmetic: callers, keys, models, usage, prices, limits, records.

pub mod abilities;
pub mod alert;
pub mod caller;
pub mod delivery;
pub mod endpoint;
pub mod gcra;
pub mod hold;
pub mod job;
pub mod key;
pub mod limit;
pub mod limit_book;
pub mod limit_rules;
pub mod modality;
pub mod model;
pub mod name;
pub mod pepper;
pub mod price;
pub mod record;
mod settling;
pub mod usage;
pub mod video;
pub mod webhook;
pub mod window;
