//! ByteDance's Ark: Seedance video tasks. Its chat speaks OpenAI's dialect and is found there.

mod fault;
mod prompt;
mod video;

pub use video::ArkVideo;
