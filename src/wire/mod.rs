//! Wire formats that several vendors and routes share.

pub mod base64;
pub(crate) mod data_url;
pub mod json;
pub mod members;
pub mod multipart;
pub(crate) mod openai_chat;
pub(crate) mod openai_request;
pub mod peek;
pub mod scrub;
pub mod splice;
pub mod sse;
pub(crate) mod text;
pub mod vendor_error;
