//! The hold: the most that a request can come to, before it is sent.

use std::sync::Arc;

use crate::base::error::{Code, Error};
use crate::base::money::Money;
use crate::domain::abilities::Asked;
use crate::domain::endpoint::Endpoint;
use crate::domain::limit::{Amounts, Limit, Measure, Mode};
use crate::domain::modality::Modality;
use crate::domain::model::{ModelTerms, OptionPolicy};
use crate::domain::price::{Options, Price, Rates};
use crate::domain::usage::Usage;
use crate::domain::video::Order;
use crate::http::call::{AudioLength, Call, Facts};

/// The tokens of an image, audio or file part where the model's terms are not known.
const PART_TOKENS: u64 = 50_000;

/// What a request holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) amounts: Amounts,
    /// The output bound in tokens, for one choice, that the vendor must be sent for the hold to be one.
    pub(super) output_bound: Option<u64>,
}

/// What the enforced limits want bounded.
struct Wants {
    tokens: bool,
    output: bool,
    spend: bool,
    video_seconds: bool,
}

impl Wants {
    fn of(limits: &[Arc<Limit>]) -> Self {
        let measured =
            |wanted: fn(Measure) -> bool| limits.iter().any(|l| l.mode == Mode::Enforce && wanted(l.key.measure));
        Self {
            tokens: measured(Measure::is_tokens),
            output: measured(|m| matches!(m, Measure::Tokens | Measure::OutputTokens)),
            spend: measured(|m| m == Measure::Spend),
            video_seconds: measured(|m| m == Measure::VideoSeconds),
        }
    }
}

/// The hold of `call` under these limits. An error where an enforced one cannot be bounded.
pub(super) fn reckon(call: &Call, limits: &[Arc<Limit>]) -> Result<Hold, Error> {
    let wants = Wants::of(limits);
    let facts = call.facts();
    if wants.tokens || wants.spend {
        bounded(facts)?;
    }
    let request = Request::new(call);
    let costs = wants.spend && request.price() != Some(&Price::Free);
    let needs_output = wants.output || costs;
    let per_choice = request.output_bound();
    let usage = request.bound(per_choice);
    let ceiling = request.ceiling(&usage);
    // Before what the caller could mend: no bound helps a model that has no price.
    if ceiling.is_none() && wants.spend {
        return Err(not_priced(call));
    }
    let has_output_bound = per_choice.is_some() || !request.has_output();
    if !has_output_bound && needs_output {
        return Err(no_output_bound(call));
    }
    if request.seconds().is_none() && (wants.video_seconds || costs) {
        return Err(Error::new(
            Code::MissingParameter,
            "A limit needs to know how long the video may be: say so in \"duration\", in seconds.",
        )
        .param("duration"));
    }
    // What is not known is held as 0, so that nobody takes a part of it for a bound.
    let is_whole = has_output_bound && request.seconds().is_some();
    let amounts = Amounts::of_request(&usage, ceiling.filter(|_| is_whole).unwrap_or(Money::ZERO));
    let is_text = matches!(call.endpoint(), Endpoint::ChatCompletions | Endpoint::Responses);
    Ok(Hold { amounts, output_bound: per_choice.filter(|_| needs_output && is_text) })
}

/// Refuses what no number in the request bounds.
fn bounded(facts: &Facts) -> Result<(), Error> {
    if let Some(feature) = &facts.unbounded {
        let message = format!(
            "What {feature:?} costs cannot be bounded beforehand, and this key is under a token or spend limit: leave it out."
        );
        return Err(Error::new(Code::UnsupportedParameter, message).param(feature.clone()));
    }
    let bounds = [
        ("max_completion_tokens", &facts.max_completion_tokens),
        ("max_tokens", &facts.max_tokens),
        ("max_output_tokens", &facts.max_output_tokens),
        ("n", &facts.n),
    ];
    for (param, bound) in bounds {
        // Some vendors read 0 as "no bound".
        if bound.as_ref().is_some_and(|b| b.value == 0) {
            return Err(Error::new(Code::InvalidParameter, format!("{param:?} must be at least 1.")).param(param));
        }
    }
    Ok(())
}

fn no_output_bound(call: &Call) -> Error {
    let param = if call.endpoint() == Endpoint::Responses { "max_output_tokens" } else { "max_tokens" };
    let message = format!(
        "A limit needs to know how long the answer of {model:?} may be. Send {param:?}, or have [models.{model:?}].max_output_tokens configured.",
        model = call.model(),
    );
    Error::new(Code::InvalidParameter, message).param(param)
}

fn not_priced(call: &Call) -> Error {
    let message = format!(
        "The model {model:?} has no price for what this request uses, and this key is under a spend limit. Have [models.{model:?}].price configured, or use another model.",
        model = call.model(),
    );
    Error::new(Code::ModelNotPriced, message).param("model")
}

/// A call, seen by what it may come to.
struct Request<'a> {
    call: &'a Call,
    facts: &'a Facts,
    terms: Option<&'a ModelTerms>,
    /// What a video may become by its model's table; empty where there is none.
    orders: Vec<Order>,
}

impl<'a> Request<'a> {
    fn new(call: &'a Call) -> Self {
        let (facts, terms) = (call.facts(), call.terms().map(Arc::as_ref));
        let row =
            terms.filter(|_| call.endpoint().modality() == Modality::Video).and_then(|t| Some((t.video?, t.options)));
        let asked = Asked {
            duration: facts.seconds,
            resolution: facts.resolution.as_deref(),
            size: facts.size.as_deref(),
            audio: facts.audio,
        };
        let orders = row.map(|(row, policy)| row.may_become(asked, policy)).unwrap_or_default();
        Self { call, facts, terms, orders }
    }

    /// The most that `usage` can cost. `None` when a used unit has no price.
    fn ceiling(&self, usage: &Usage) -> Option<Money> {
        let price = self.price()?;
        if self.orders.is_empty() {
            return price.ceiling(usage, &self.options());
        }
        // Tokens that the vendor counts and nobody bills cost nothing.
        let (input_tokens, output_tokens) =
            if price.prices_tokens() { (usage.input_tokens, usage.output_tokens) } else { (0, 0) };
        let usage = Usage { input_tokens, output_tokens, ..*usage };
        let ceilings = self.orders.iter().map(|order| price.ceiling(&usage, &order.price_options()));
        ceilings.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// The most tokens that a video comes to, where its vendor counts them.
    fn video_tokens(&self) -> Option<u64> {
        self.orders.iter().map(|order| order.tokens).max().filter(|tokens| *tokens > 0)
    }

    fn price(&self) -> Option<&Price> {
        self.terms.map(|t| &t.price)
    }

    /// What a price tier may ask of it, as far as it is settled.
    fn options(&self) -> Options {
        let options = self.call.price_options();
        match self.terms.map(|t| t.options) {
            // It may be made in another quality.
            Some(OptionPolicy::Nearest) => Options { quality: None, ..options },
            _ => options,
        }
    }

    fn n(&self) -> u64 {
        self.facts.n.as_ref().map_or(1, |n| n.value.max(1))
    }

    /// Whether any of the model's rates has one of these prices.
    fn is_billed(&self, priced: impl Fn(&Rates) -> bool) -> bool {
        match self.price() {
            Some(Price::Rates { base, tiers }) => priced(base) || tiers.iter().any(|t| priced(&t.rates)),
            _ => false,
        }
    }

    /// Whether the answer is made of tokens that count or cost.
    fn has_output(&self) -> bool {
        match self.call.endpoint() {
            Endpoint::ChatCompletions | Endpoint::Responses => true,
            Endpoint::Embeddings => false,
            _ if self.video_tokens().is_some() => true,
            _ => self.is_billed(|r| {
                r.output.is_some() || r.image_output.is_some() || r.audio_output.is_some() || r.reasoning.is_some()
            }),
        }
    }

    fn has_input(&self) -> bool {
        match self.call.endpoint() {
            Endpoint::ChatCompletions | Endpoint::Responses | Endpoint::Embeddings => true,
            _ => self.is_billed(|r| r.input.is_some() || r.image_input.is_some() || r.audio_input.is_some()),
        }
    }

    /// The output of one choice, one image: the caller's bound or the model's ceiling, whichever is less.
    fn output_bound(&self) -> Option<u64> {
        let ceiling = self.terms.and_then(|t| t.max_output_tokens);
        let facts = self.facts;
        let asked = match self.call.endpoint() {
            // Nothing that the caller says bounds the tokens of a video but its length and size.
            Endpoint::VideoGenerations | Endpoint::Videos => return self.video_tokens().or(ceiling),
            Endpoint::Responses => [&facts.max_output_tokens, &None],
            _ => [&facts.max_completion_tokens, &facts.max_tokens],
        };
        asked.into_iter().flatten().map(|bound| bound.value).chain(ceiling).min()
    }

    /// A byte of text is at most a token; a part may stand for far more than its bytes.
    fn input_bound(&self) -> u64 {
        let part = self.terms.map_or(PART_TOKENS, |t| t.max_part_tokens);
        let files = self.facts.multipart.iter().flat_map(|m| &m.parts).filter(|p| p.filename.is_some());
        let (count, bytes) = files.fold((0u64, 0u64), |(n, bytes), p| (n + 1, bytes + p.content.len() as u64));
        // An image is worth a part whatever its bytes; a recording, no more tokens than bytes.
        let (count, bytes) = if self.call.endpoint().takes_recording() { (0, 0) } else { (count, bytes) };
        let text = self.facts.body_bytes.saturating_sub(self.facts.media_bytes).saturating_sub(bytes);
        text.saturating_add(self.facts.media_parts.max(count).saturating_mul(part))
    }

    /// How long what is made may be; `None` where neither the request nor the model's table says.
    fn seconds(&self) -> Option<u64> {
        match self.call.endpoint() {
            Endpoint::VideoGenerations | Endpoint::Videos => {
                self.orders.iter().map(|order| order.duration).max().or(self.facts.seconds)
            }
            _ => Some(0),
        }
    }

    /// The most that is used, of each unit that is known.
    fn bound(&self, output_per_choice: Option<u64>) -> Usage {
        let n = self.n();
        let characters = self.facts.input_weight.unwrap_or(self.facts.body_bytes);
        let mut usage = Usage::NONE;
        if self.has_input() {
            // Several pictures are billed as if each had been asked for alone, and some vendors are asked so.
            let times = if self.call.endpoint().modality() == Modality::Image { n } else { 1 };
            usage.input_tokens = self.input_bound().saturating_mul(times);
        }
        if let Some(output) = output_per_choice.filter(|_| self.has_output()) {
            let reasoning = self.terms.map_or(0, |t| t.max_reasoning_tokens);
            usage.output_tokens = output.saturating_add(reasoning).saturating_mul(n);
        }
        match self.call.endpoint() {
            Endpoint::ImageGenerations | Endpoint::ImageEdits => usage.images = n,
            Endpoint::VideoGenerations | Endpoint::Videos => {
                usage.videos = n;
                usage.video_seconds = self.seconds().unwrap_or(0).saturating_mul(n);
            }
            Endpoint::Speech => {
                usage.characters = characters;
                // No voice is so slow that a character takes it longer than a second.
                if self.is_billed(|r| r.per_audio_second.is_some()) {
                    usage.audio_seconds = characters;
                }
            }
            Endpoint::Transcriptions | Endpoint::Translations => {
                usage.audio_seconds = self.facts.recording.map_or(0, AudioLength::seconds);
            }
            Endpoint::ChatCompletions | Endpoint::Responses | Endpoint::Embeddings => {}
        }
        usage
    }
}
