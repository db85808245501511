//! The model routes: what a POST asks for.

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use super::modality::Modality;

/// A route that reaches a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[allow(missing_docs, reason = "named after their paths")]
pub enum Endpoint {
    ChatCompletions,
    Embeddings,
    Responses,
    ImageGenerations,
    ImageEdits,
    VideoGenerations,
    /// The OpenAI SDK's `client.videos.create`.
    Videos,
    Speech,
    Transcriptions,
    Translations,
}

impl Endpoint {
    /// Every model route.
    pub const ALL: [Self; 10] = [
        Self::ChatCompletions,
        Self::Embeddings,
        Self::Responses,
        Self::ImageGenerations,
        Self::ImageEdits,
        Self::VideoGenerations,
        Self::Videos,
        Self::Speech,
        Self::Transcriptions,
        Self::Translations,
    ];

    /// The path, with `/v1`.
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Embeddings => "/v1/embeddings",
            Self::Responses => "/v1/responses",
            Self::ImageGenerations => "/v1/images/generations",
            Self::ImageEdits => "/v1/images/edits",
            Self::VideoGenerations => "/v1/videos/generations",
            Self::Videos => "/v1/videos",
            Self::Speech => "/v1/audio/speech",
            Self::Transcriptions => "/v1/audio/transcriptions",
            Self::Translations => "/v1/audio/translations",
        }
    }

    /// The path, shared: no request allocates one of its own.
    pub fn shared_path(self) -> Arc<str> {
        static PATHS: LazyLock<[Arc<str>; Endpoint::ALL.len()]> =
            LazyLock::new(|| Endpoint::ALL.map(|e| e.path().into()));
        Arc::clone(&PATHS[self as usize])
    }

    /// The route of a POST to `path`, with or without the `/v1` prefix (a router that nests strips it).
    pub fn of(path: &str) -> Option<Self> {
        let bare = path.strip_prefix("/v1").unwrap_or(path);
        Self::ALL.into_iter().find(|e| e.path()["/v1".len()..] == *bare)
    }

    /// Whether a recording is uploaded to it.
    pub const fn takes_recording(self) -> bool {
        matches!(self, Self::Transcriptions | Self::Translations)
    }

    /// Whether it answers with a job, which goes on when the request is over.
    pub const fn makes_job(self) -> bool {
        matches!(self, Self::VideoGenerations | Self::Videos)
    }

    /// The modality of the models that this route takes; `None` for chat and responses is text.
    pub const fn modality(self) -> Modality {
        match self {
            Self::ChatCompletions | Self::Responses => Modality::Text,
            Self::Embeddings => Modality::Embedding,
            Self::ImageGenerations | Self::ImageEdits => Modality::Image,
            Self::VideoGenerations | Self::Videos => Modality::Video,
            Self::Speech | Self::Transcriptions | Self::Translations => Modality::Voice,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_with_and_without_the_prefix() {
        for endpoint in Endpoint::ALL {
            assert_eq!(Endpoint::of(endpoint.path()), Some(endpoint));
            assert_eq!(Endpoint::of(&endpoint.path()[3..]), Some(endpoint));
            assert_eq!(&*endpoint.shared_path(), endpoint.path());
        }
        for path in ["/v1", "", "/v1/", "/v1/chat", "/v1/chat/completions/", "//v1/chat/completions", "/V1/embeddings"]
        {
            assert_eq!(Endpoint::of(path), None, "{path}");
        }
    }
}
