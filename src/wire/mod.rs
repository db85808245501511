//! Wire formats that several vendors and routes share.

pub mod audio_duration;
pub mod base64;
mod cursor;
pub(crate) mod data_url;
pub mod dropped;
pub mod facts;
pub(crate) mod fields;
pub(crate) mod images;
pub mod json;
pub(crate) mod lenient;
pub(crate) mod marks;
pub mod members;
pub mod multipart;
pub(crate) mod openai_chat;
pub(crate) mod openai_request;
pub(crate) mod outline;
mod params;
pub mod peek;
pub(crate) mod pieces;
mod scan;
pub mod scrub;
pub mod splice;
pub mod sse;
pub mod standard_webhooks;
pub(crate) mod text;
mod utf8;
pub mod vendor_error;
