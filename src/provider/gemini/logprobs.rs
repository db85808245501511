//! `logprobsResult` as OpenAI's `logprobs`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// `logprobsResult`: what was chosen, and what stood beside it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct LogprobsResult<'a> {
    #[serde(borrow)]
    chosen_candidates: Vec<TokenLogprob<'a>>,
    top_candidates: Vec<TopTokens<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TopTokens<'a> {
    #[serde(borrow)]
    candidates: Vec<TokenLogprob<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TokenLogprob<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
    log_probability: f64,
}

#[derive(Serialize)]
struct Logprob<'a> {
    token: &'a str,
    logprob: f64,
    bytes: &'a [u8],
}

impl<'a> From<&'a TokenLogprob<'_>> for Logprob<'a> {
    fn from(given: &'a TokenLogprob<'_>) -> Self {
        Self { token: &given.token, logprob: given.log_probability, bytes: given.token.as_bytes() }
    }
}

#[derive(Serialize)]
struct ChosenLogprob<'a> {
    #[serde(flatten)]
    chosen: Logprob<'a>,
    top_logprobs: Vec<Logprob<'a>>,
}

impl LogprobsResult<'_> {
    /// OpenAI's `logprobs` of it, as JSON.
    pub(super) fn to_json(&self) -> String {
        let written = self.chosen_candidates.iter().enumerate().filter_map(|(at, token)| {
            let top = self.top_candidates.get(at).map(|t| t.candidates.as_slice()).unwrap_or_default();
            let entry = ChosenLogprob { chosen: token.into(), top_logprobs: top.iter().map(Into::into).collect() };
            serde_json::to_string(&entry).ok()
        });
        format!("{{\"content\":[{}],\"refusal\":null}}", written.collect::<Vec<_>>().join(","))
    }
}
