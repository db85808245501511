//! Kling: video.

mod fault;
mod jwt;
mod video;

pub use video::KlingVideo;
