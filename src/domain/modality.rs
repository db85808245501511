//! The kinds of model that limits, keys and records tell apart.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a model works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "plain words")]
pub enum Modality {
    Text,
    Image,
    Video,
    Voice,
    Embedding,
}

impl Modality {
    /// Every modality.
    pub const ALL: [Self; 5] = [Self::Text, Self::Image, Self::Video, Self::Voice, Self::Embedding];

    /// The word for it in configuration and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Video => "video",
            Self::Voice => "voice",
            Self::Embedding => "embedding",
        }
    }
}

impl fmt::Display for Modality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Modality {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|m| m.as_str() == text)
            .ok_or_else(|| format!("{text:?} is no modality: use text, image, video, voice or embedding"))
    }
}
