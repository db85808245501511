//! From a kind to its codec.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use crate::base::error::{Code, Error};
use crate::domain::endpoint::Endpoint;
use crate::http::call::Call;

use super::anthropic::Anthropic;
use super::ark::ArkVideo;
use super::echo::{Echo, EchoVideo};
use super::gemini::{Gemini, VeoVideo};
use super::kind::Kind;
use super::kling::KlingVideo;
use super::minimax::{MiniMax, MiniMaxVideo};
use super::openai::{Dialect, OpenAi};
use super::traits::{Exchange, Provider, Target};
use super::video::VideoProvider;

/// The codec of `kind`. A kind that has none yet answers `provider_model_unavailable`.
pub fn codec(kind: Kind) -> Arc<dyn Provider> {
    match kind {
        Kind::OpenAi => Arc::new(OpenAi::new(Dialect::OpenAi)),
        Kind::OpenAiCompatible => Arc::new(OpenAi::new(Dialect::Compatible)),
        Kind::DashScope => Arc::new(OpenAi::new(Dialect::DashScope)),
        Kind::Moonshot => Arc::new(OpenAi::new(Dialect::Moonshot)),
        Kind::Ark => Arc::new(OpenAi::new(Dialect::Ark)),
        Kind::Anthropic => Arc::new(Anthropic),
        Kind::Gemini => Arc::new(Gemini),
        Kind::Echo => Arc::new(Echo),
        Kind::MiniMax => Arc::new(MiniMax),
        Kind::Kling => Arc::new(Absent(kind)),
    }
}

/// The codec of the video jobs of a kind, by its [name](Provider::kind); `None` for a kind that has none.
pub fn video_codec(kind: &str) -> Option<Arc<dyn VideoProvider>> {
    let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind)?;
    Some(match kind {
        Kind::Gemini => Arc::new(VeoVideo),
        Kind::Ark => Arc::new(ArkVideo),
        Kind::MiniMax => Arc::new(MiniMaxVideo),
        Kind::Kling => Arc::new(KlingVideo),
        Kind::Echo => Arc::new(EchoVideo),
        _ => return None,
    })
}

/// A kind that configuration knows and that serves no route.
#[derive(Debug)]
struct Absent(Kind);

impl Absent {
    fn error(&self) -> Error {
        Error::new(Code::ProviderModelUnavailable, format!("Models of the kind {} are not available here.", self.0))
    }
}

impl Provider for Absent {
    fn kind(&self) -> &'static str {
        self.0.as_str()
    }

    fn supports(&self, _: Endpoint) -> bool {
        false
    }

    fn encode(&self, _: &Call, _: &Target) -> Result<Exchange, Error> {
        Err(self.error())
    }

    fn fault(&self, _: StatusCode, _: &HeaderMap, _: &[u8]) -> Error {
        self.error()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codec_calls_itself_what_configuration_calls_it() {
        for kind in Kind::ALL {
            assert_eq!(codec(kind).kind(), kind.as_str());
        }
    }
}
