//! `reasoning_effort` as a budget of thinking, or as an effort, by what the model has.

use serde::Serialize;
use serde_json::Value;

use crate::base::error::Error;
use crate::wire::dropped::Dropped;
use crate::wire::openai_request::invalid;

use super::super::capability::{self, Capability, Effort, Off};
use super::Bound;
use super::turns::Conversation;

/// How the model is told to think.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Thinking {
    Enabled {
        budget_tokens: u64,
    },
    /// `display`: without it newer models keep the text to themselves.
    Adaptive {
        display: &'static str,
    },
    Disabled,
    BetweenTools,
}

#[derive(Debug, Serialize)]
pub(super) struct OutputConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<Effort>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Format {
    JsonSchema { schema: Value },
}

impl OutputConfig {
    pub(super) fn of(effort: Option<Effort>, schema: Option<Value>) -> Option<Self> {
        let format = schema.map(|schema| Format::JsonSchema { schema });
        (effort.is_some() || format.is_some()).then_some(Self { effort, format })
    }
}

/// How the model is to think, and the bound of output that this needs.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) thinking: Option<Thinking>,
    pub(super) effort: Option<Effort>,
    pub(super) max_tokens: u64,
}

impl Plan {
    pub(super) fn thinks(&self) -> bool {
        matches!(self.thinking, Some(Thinking::Enabled { .. } | Thinking::Adaptive { .. }))
    }
}

/// OpenAI's efforts: the budget in tokens, and the vendor's effort.
fn level(effort: &str) -> Option<(u64, Effort)> {
    Some(match effort {
        "minimal" | "low" => (1_024, Effort::Low),
        "medium" => (2_048, Effort::Medium),
        "high" => (4_096, Effort::High),
        "xhigh" => (8_192, Effort::XHigh),
        "max" => (16_384, Effort::Max),
        _ => return None,
    })
}

pub(super) fn think(
    effort: Option<&str>,
    bound: Bound,
    forced: bool,
    conversation: &Conversation<'_>,
    able: &Capability,
    dropped: &mut Dropped,
) -> Result<Plan, Error> {
    let mut plan = Plan { thinking: None, effort: None, max_tokens: bound.tokens };
    let Some(effort) = effort else { return Ok(plan) };
    let level = level(effort);
    if level.is_none() && effort != "none" {
        return Err(invalid("reasoning_effort", "give none, minimal, low, medium, high, xhigh or max"));
    }
    match (able.thinking, level) {
        (capability::Thinking::None, Some(_)) => dropped.push("reasoning_effort"),
        (capability::Thinking::Budget, Some((budget, _))) => {
            // The vendor refuses a budget beside a forced call, and after calls whose thinking was not handed back.
            let budget = (!forced && conversation.allows_thinking()).then(|| budgeted(budget, bound)).flatten();
            match budget {
                None => dropped.push("reasoning_effort"),
                Some((budget_tokens, max_tokens)) => {
                    plan.thinking = Some(Thinking::Enabled { budget_tokens });
                    plan.max_tokens = max_tokens;
                }
            }
        }
        (capability::Thinking::Adaptive { efforts, .. }, Some((_, wanted))) => {
            plan.thinking = Some(Thinking::Adaptive { display: "summarized" });
            plan.effort = efforts.iter().rfind(|effort| **effort <= wanted).copied();
        }
        (capability::Thinking::Adaptive { off, .. }, None) => match off {
            Off::Disabled => plan.thinking = Some(Thinking::Disabled),
            Off::BetweenTools => plan.thinking = Some(Thinking::BetweenTools),
            Off::Never => plan.effort = Some(Effort::Low),
        },
        (capability::Thinking::None | capability::Thinking::Budget, None) => {}
    }
    Ok(plan)
}

/// The budget, and the bound of output that must be larger; `None` where there is no room to think.
fn budgeted(budget: u64, bound: Bound) -> Option<(u64, u64)> {
    const LEAST: u64 = 1_024;
    let max_tokens = match bound.fixed {
        true => bound.tokens,
        false => bound.tokens.max(bound.tokens.saturating_add(budget).min(bound.ceiling)),
    };
    let budget = budget.min(max_tokens.saturating_sub(1));
    (budget >= LEAST).then_some((budget, max_tokens))
}
