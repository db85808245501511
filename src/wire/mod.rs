//! Wire formats that several vendors and routes share.

pub mod base64;
pub mod json;
pub mod members;
pub mod multipart;
pub mod peek;
pub mod scrub;
pub mod splice;
pub mod sse;
pub mod vendor_error;
