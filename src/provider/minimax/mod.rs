//! MiniMax: video (Hailuo and H3).

mod fault;
mod video;
mod video2;

pub use video::MiniMaxVideo;
