//! The kinds of provider: which dialect a vendor speaks, where it is by default, and where its credential is looked for.

use std::fmt;

/// The kind of a provider, as `kind` in the configuration names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the vendors' names; `as_str` is how configuration writes them")]
pub enum Kind {
    OpenAi,
    Anthropic,
    Gemini,
    DashScope,
    Moonshot,
    Ark,
    MiniMax,
    Kling,
    /// Any server that speaks OpenAI's dialect; has no default base URL.
    OpenAiCompatible,
    /// The offline provider, answered in this process.
    Echo,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::OpenAi,
        Self::Anthropic,
        Self::Gemini,
        Self::DashScope,
        Self::Moonshot,
        Self::Ark,
        Self::MiniMax,
        Self::Kling,
        Self::OpenAiCompatible,
        Self::Echo,
    ];

    /// The word for it in configuration; the same as [`Provider::kind`](super::traits::Provider::kind) of its codec.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::DashScope => "dashscope",
            Self::Moonshot => "moonshot",
            Self::Ark => "ark",
            Self::MiniMax => "minimax",
            Self::Kling => "kling",
            Self::OpenAiCompatible => "openai-compatible",
            Self::Echo => "echo",
        }
    }

    /// The vendor's own address, without a trailing slash: the region whose keys the vendor issues by default.
    pub const fn default_base_url(self) -> Option<&'static str> {
        match self {
            Self::OpenAi => Some("https://api.openai.com/v1"),
            Self::Anthropic => Some("https://api.anthropic.com"),
            Self::Gemini => Some("https://generativelanguage.googleapis.com"),
            Self::DashScope => Some("https://dashscope.aliyuncs.com/compatible-mode/v1"),
            Self::Moonshot => Some("https://api.moonshot.ai/v1"),
            Self::Ark => Some("https://ark.cn-beijing.volces.com/api/v3"),
            Self::MiniMax => Some("https://api.minimax.io"),
            Self::Kling => Some("https://api-singapore.klingai.com"),
            Self::OpenAiCompatible => None,
            // Never dialled; a name that RFC 2606 keeps from ever resolving.
            Self::Echo => Some("http://echo.invalid"),
        }
    }

    /// The environment variable in which the vendor's users keep their API key.
    pub const fn api_key_variable(self) -> Option<&'static str> {
        match self {
            Self::OpenAi => Some("OPENAI_API_KEY"),
            Self::Anthropic => Some("ANTHROPIC_API_KEY"),
            Self::Gemini => Some("GEMINI_API_KEY"),
            Self::DashScope => Some("DASHSCOPE_API_KEY"),
            Self::Moonshot => Some("MOONSHOT_API_KEY"),
            Self::Ark => Some("ARK_API_KEY"),
            Self::MiniMax => Some("MINIMAX_API_KEY"),
            Self::Kling => Some("KLING_API_KEY"),
            Self::OpenAiCompatible | Self::Echo => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_addresses_are_urls_without_a_trailing_slash() {
        for kind in Kind::ALL {
            if let Some(url) = kind.default_base_url() {
                assert!(url.parse::<http::Uri>().is_ok() && !url.ends_with('/'), "{url}");
            }
        }
    }
}
