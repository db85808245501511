//! What a request comes to: outcome, usage and cost, from all that was learnt of it.

use std::sync::Arc;

use crate::base::clock::Timestamp;
use crate::base::error::{Code, Origin};
use crate::base::money::Money;
use crate::domain::endpoint::Endpoint;
use crate::domain::limit::Amounts;
use crate::domain::modality::Modality;
use crate::domain::model::ModelTerms;
use crate::domain::price::Options;
use crate::domain::record::Outcome;
use crate::domain::usage::Usage;

use super::call::{AudioLength, Call};
use super::finish::Ended;

/// What is booked for an answer that the caller did not wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Abandoned {
    /// The input's estimate and the output delivered so far.
    #[default]
    Seen,
    /// The whole hold.
    Held,
}

/// Where a request was routed to.
#[derive(Clone, Debug)]
pub(crate) struct Routed {
    pub(crate) provider: Arc<str>,
    pub(crate) upstream: Arc<str>,
}

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Booked {
    pub(crate) outcome: Outcome,
    pub(crate) usage: Usage,
    pub(crate) estimated: bool,
    pub(crate) cost: Money,
}

impl Booked {
    /// What limits are settled to; `None` where the request is to count nowhere.
    pub(crate) fn amounts(&self) -> Option<Amounts> {
        (self.outcome != Outcome::Refused).then(|| Amounts::of_request(&self.usage, self.cost))
    }
}

/// What handlers of the host's own have added.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Added {
    /// Priced like a vendor's.
    usage: Usage,
    /// Units that came with a cost of their own.
    paid: Usage,
    cost: Money,
}

/// All that was learnt of a request so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Learnt {
    pub(crate) abandoned: Abandoned,
    pub(crate) terms: Option<Arc<ModelTerms>>,
    pub(crate) options: Options,
    /// What the request asks for by its own size: what it is taken to have used when the vendor does not say.
    pub(crate) asked: Usage,
    pub(crate) held: Option<Amounts>,
    pub(crate) routed: Option<Routed>,
    pub(crate) upstream_request_id: Option<Arc<str>>,
    pub(crate) streamed: bool,
    /// The vendor was called: from then on it may bill.
    pub(crate) called: bool,
    pub(crate) first_byte: Option<Timestamp>,
    pub(crate) reported: Option<Usage>,
    /// What has been delivered so far, as we count it: the ground of an estimate.
    pub(crate) delivered: Usage,
    /// What handlers of the host's own have added. In a box: few requests have any.
    pub(crate) added: Option<Box<Added>>,
    pub(crate) failure: Option<(Code, Origin)>,
    /// The failure is that the answer ended before its finish.
    pub(crate) cut_short: bool,
    pub(crate) status: Option<u16>,
    /// The caller was gone before its request had come whole: whatever is answered, nobody gets it.
    pub(crate) left: bool,
}

impl Learnt {
    /// What these units cost by the terms of the model.
    pub(super) fn price(&self, usage: &Usage) -> Money {
        let price = self.terms.as_ref().map(|terms| &terms.price);
        price.and_then(|price| price.cost(usage, &self.options)).unwrap_or_default()
    }

    pub(super) fn identify(&mut self, call: &Call) {
        self.terms = call.terms().cloned();
        self.options = call.price_options();
        self.streamed = call.streams();
        let price = self.terms.as_ref().map(|t| &t.price);
        let prices_input = price.and_then(|p| p.rates(&self.options, 0)).is_some_and(|r| r.input.is_some());
        self.asked = asked(call, prices_input);
    }

    /// The status that the caller gets, if it is still there.
    pub(crate) fn tell(&mut self, status: u16) {
        self.status = Some(status).filter(|_| !self.left);
    }

    pub(super) fn add(&mut self, usage: &Usage) {
        if *usage != Usage::NONE {
            let added = self.added.get_or_insert_default();
            added.usage = added.usage.plus(usage);
        }
    }

    pub(super) fn add_at(&mut self, usage: &Usage, cost: Money) {
        if *usage == Usage::NONE && cost == Money::ZERO {
            return;
        }
        let added = self.added.get_or_insert_default();
        added.paid = added.paid.plus(usage);
        added.cost = added.cost.plus(cost);
    }

    /// Usage as the vendor reports it; the last report is the truth. One that cannot be is none.
    pub(crate) fn report(&mut self, usage: Usage) {
        if usage.is_plausible() {
            self.reported = Some(usage);
        }
    }

    /// What was made has another size or quality than was asked for. It is priced by that, unless the operator has named a
    /// price for what was asked.
    pub(crate) fn made_as(&mut self, size: Option<&str>, quality: Option<&str>) {
        if let Some(terms) = &self.terms {
            self.options = terms.price.made_as(&self.options, size, quality);
        }
    }

    /// Whether it got past the limits, or nobody asked them.
    pub(crate) fn was_admitted(&self) -> bool {
        self.held.is_some() || self.has_used()
    }

    /// Whether anything may have to be paid for.
    fn has_used(&self) -> bool {
        self.called || self.added.is_some()
    }

    /// Makes the books. `complete`: all of the vendor's answer has come. `closing`: the host is going down.
    pub(super) fn book(&self, ended: Ended, complete: bool, closing: bool) -> Booked {
        let outcome = self.outcome(ended, complete, closing);
        if outcome == Outcome::Refused {
            return Booked { outcome, usage: Usage::NONE, estimated: false, cost: Money::ZERO };
        }
        let vendor = self.of_vendor(outcome, complete);
        let (used, estimated) = vendor.unwrap_or((Usage::NONE, false));
        let whole = self.abandoned == Abandoned::Held && outcome == Outcome::ClientClosed;
        let held = self.held.filter(|_| estimated);
        let usage = held.map_or(used, |held| bounded(used, &held, whole));
        let added = self.added.as_deref().copied().unwrap_or_default();
        let usage = usage.plus(&added.usage);
        let is_priced = vendor.is_some() || added.usage != Usage::NONE;
        let cost = if is_priced { self.price(&usage) } else { Money::ZERO };
        let cost = held.map_or(cost, |h| Money::from_nanos(bound(cost.as_nanos(), h.spend.as_nanos(), whole)));
        Booked { outcome, usage: usage.plus(&added.paid), estimated, cost: cost.plus(added.cost) }
    }

    fn outcome(&self, ended: Ended, complete: bool, closing: bool) -> Outcome {
        match (self.failure, ended) {
            (_, Ended::Panicked) => Outcome::Failed,
            _ if self.left => Outcome::ClientClosed,
            (Some(_), _) if self.cut_short => Outcome::Truncated,
            (Some((_, Origin::Provider)), _) => Outcome::ProviderFailed,
            (Some((code, Origin::Gateway)), _) if refuses(code) && !self.has_used() => Outcome::Refused,
            (Some(_), _) => Outcome::Failed,
            (None, Ended::Dropped) if closing => Outcome::Failed,
            (None, Ended::Dropped) => Outcome::ClientClosed,
            _ if complete => Outcome::Completed,
            (None, Ended::Failed) => Outcome::Failed,
            // A layer of the host's own has answered in the vendor's place.
            (None, Ended::Whole) if self.routed.is_some() && self.delivered == Usage::NONE => Outcome::Failed,
            (None, Ended::Whole) if self.routed.is_some() => Outcome::Truncated,
            (None, Ended::Whole) => Outcome::Completed,
        }
    }

    /// Whether a report tells anything: no text costs no tokens. One that leaves the input out is the vendor's word all
    /// the same; Gemini does so for some answers.
    fn tells_tokens(&self, reported: &Usage) -> bool {
        reported.input_tokens > 0 || reported.output_tokens > 0 || self.asked.input_tokens == 0
    }

    /// What the vendor may bill for, and whether that is our own estimate; `None` where it bills nothing.
    fn of_vendor(&self, outcome: Outcome, complete: bool) -> Option<(Usage, bool)> {
        if !self.called {
            return None;
        }
        match self.reported {
            Some(reported) if complete && self.tells_tokens(&reported) => Some((reported, false)),
            // Before any output a vendor's failure is not billed.
            _ if matches!(outcome, Outcome::ProviderFailed | Outcome::Truncated) && self.delivered == Usage::NONE => {
                None
            }
            // A report in the middle of an answer tells the input, but not all of the output.
            Some(reported) if reported.input_tokens > 0 => Some((reported.max(&self.delivered), true)),
            reported => Some((reported.unwrap_or_default().max(&self.asked).max(&self.delivered), true)),
        }
    }
}

/// Whether `code` says no to the caller, rather than owning up to a fault. A store that cannot be reached refuses.
fn refuses(code: Code) -> bool {
    !code.status().is_server_error() || matches!(code, Code::QuotaUnavailable | Code::LedgerUnavailable)
}

/// What `call` asks for, estimated from its size. Never nothing.
fn asked(call: &Call, prices_input: bool) -> Usage {
    let facts = call.facts();
    let text = facts.body_bytes.saturating_sub(facts.media_bytes);
    // A token of ordinary text is some four bytes; of dense scripts, three. The JSON around it evens that out.
    let tokens = Usage { input_tokens: text.div_ceil(3).max(1), ..Usage::NONE };
    let units = match (call.endpoint(), call.endpoint().modality()) {
        (_, Modality::Text | Modality::Embedding) => return tokens,
        (_, Modality::Image) => Usage { images: facts.n.as_ref().map_or(1, |n| n.value).max(1), ..Usage::NONE },
        (_, Modality::Video) => Usage { video_seconds: facts.seconds.unwrap_or(1).max(1), ..Usage::NONE },
        (Endpoint::Speech, _) => Usage { characters: facts.input_chars.unwrap_or(1).max(1), ..Usage::NONE },
        (_, Modality::Voice) => Usage { audio_seconds: facts.recording.map_or(1, AudioLength::seconds), ..Usage::NONE },
    };
    if prices_input { units.plus(&tokens) } else { units }
}

/// An estimate never breaks through what was held for it; `whole` takes all of that. Nothing held is no bound.
fn bounded(usage: Usage, held: &Amounts, whole: bool) -> Usage {
    Usage {
        input_tokens: bound(usage.input_tokens, held.input_tokens, whole),
        output_tokens: bound(usage.output_tokens, held.output_tokens, whole),
        images: bound(usage.images, held.images, whole),
        video_seconds: bound(usage.video_seconds, held.video_seconds, whole),
        audio_seconds: bound(usage.audio_seconds, held.audio_seconds, whole),
        characters: bound(usage.characters, held.characters, whole),
        ..usage
    }
}

fn bound(seen: u64, held: u64, whole: bool) -> u64 {
    match held {
        0 => seen,
        held if whole => held,
        held => seen.min(held),
    }
}

#[cfg(test)]
mod tests;
