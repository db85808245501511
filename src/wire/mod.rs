//! Wire formats that several vendors and routes share.

pub mod json;
pub mod multipart;
pub mod peek;
pub mod splice;
pub mod sse;
