//! Wire formats that several vendors and routes share.

mod cursor;
pub mod facts;
pub mod json;
pub mod multipart;
mod params;
pub mod peek;
mod scan;
pub mod splice;
pub mod sse;
mod utf8;
