//! Wire formats that several vendors and routes share.

pub mod base64;
mod cursor;
pub mod facts;
pub mod json;
pub mod members;
pub mod multipart;
mod params;
pub mod peek;
mod scan;
pub mod scrub;
pub mod splice;
pub mod sse;
mod utf8;
pub mod vendor_error;
