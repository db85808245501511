//! Vendors, without any I/O: each turns a call into the vendor's request and the vendor's bytes into an answer.
//!
//! [`traits`] is what a vendor implements, [`registry`] what finds it by model id. What vendors share stands in `wire`;
//! a vendor never imports another.

pub mod anthropic;
pub mod ark;
pub mod base_url;
pub mod codec;
pub mod echo;
mod first_picture;
mod gallery;
pub mod gemini;
pub mod kind;
pub mod kling;
pub mod known;
pub mod minimax;
pub mod openai;
pub mod registry;
pub mod traits;
pub mod video;
