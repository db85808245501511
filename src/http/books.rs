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

use super::call::Call;
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
    pub(crate) delivered: Usage,
    pub(crate) added: Usage,
    pub(crate) failure: Option<(Code, Origin)>,
    pub(crate) status: Option<u16>,
}

impl Learnt {
    pub(super) fn identify(&mut self, call: &Call) {
        self.terms = call.terms().cloned();
        self.options = call.price_options();
        self.streamed = call.streams();
        let price = self.terms.as_ref().map(|t| &t.price);
        let prices_input = price.and_then(|p| p.rates(&self.options, 0)).is_some_and(|r| r.input.is_some());
        self.asked = asked(call, prices_input);
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
        let usage = held.map_or(used, |held| bounded(used, &held, whole)).plus(&self.added);
        let priced = vendor.is_some() || self.added != Usage::NONE;
        let price = self.terms.as_ref().map(|t| &t.price).filter(|_| priced);
        let cost = price.and_then(|p| p.cost(&usage, &self.options)).unwrap_or_default();
        let cost = held.map_or(cost, |h| Money::from_nanos(bound(cost.as_nanos(), h.spend.as_nanos(), whole)));
        Booked { outcome, usage, estimated, cost }
    }

    fn outcome(&self, ended: Ended, complete: bool, closing: bool) -> Outcome {
        match (self.failure, ended) {
            (_, Ended::Panicked) => Outcome::Failed,
            (Some((_, Origin::Provider)), _) => Outcome::ProviderFailed,
            (Some((code, Origin::Gateway)), _) if refuses(code) && !self.called => Outcome::Refused,
            (Some(_), _) => Outcome::Failed,
            (None, Ended::Dropped) if closing => Outcome::Failed,
            (None, Ended::Dropped) => Outcome::ClientClosed,
            _ if complete => Outcome::Completed,
            (None, Ended::Failed) => Outcome::Failed,
            (None, Ended::Whole) if self.routed.is_some() => Outcome::Truncated,
            (None, Ended::Whole) => Outcome::Completed,
        }
    }

    /// What the vendor may bill for, and whether that is our own estimate; `None` where it bills nothing.
    fn of_vendor(&self, outcome: Outcome, complete: bool) -> Option<(Usage, bool)> {
        if !self.called {
            return None;
        }
        match self.reported {
            Some(reported) if complete => Some((reported, false)),
            // Before any output a vendor's failure is not billed.
            _ if outcome == Outcome::ProviderFailed && self.delivered == Usage::NONE => None,
            // A report in the middle of an answer tells the input, but not all of the output.
            Some(reported) if reported.input_tokens > 0 => Some((reported.max(&self.delivered), true)),
            reported => Some((reported.unwrap_or_default().max(&self.asked).max(&self.delivered), true)),
        }
    }
}

/// Whether `code` says no to the caller, rather than owning up to a fault. An unreachable quota store refuses.
fn refuses(code: Code) -> bool {
    !code.status().is_server_error() || code == Code::QuotaUnavailable
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
        // 128 kbit/s, as compressed speech mostly is.
        (_, Modality::Voice) => Usage { audio_seconds: facts.body_bytes.div_ceil(16_000).max(1), ..Usage::NONE },
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
mod tests {
    use crate::base::error::Error;
    use crate::base::money::Rate;
    use crate::domain::price::{Price, Rates};

    use super::super::body::Segments;
    use super::super::call::{Facts, Located};
    use super::super::meter::Meter;
    use super::*;

    fn terms(rates: Rates) -> Arc<ModelTerms> {
        Arc::new(ModelTerms { price: Price::flat(rates), ..ModelTerms::new("m", Modality::Text) })
    }

    /// A dollar a million input tokens, two a million output tokens: 1,000 and 2,000 nano-dollars each.
    fn by_token() -> Arc<ModelTerms> {
        terms(Rates { input: Rate::per_million("1").ok(), output: Rate::per_million("2").ok(), ..Rates::default() })
    }

    fn meter(abandoned: Abandoned, endpoint: Endpoint, facts: Facts, terms: Arc<ModelTerms>) -> Meter {
        let meter = Meter::new(abandoned);
        meter.identify(&Call::new(endpoint, facts, Segments::default(), Some(terms)));
        meter.route(Routed { provider: "p".into(), upstream: "u".into() });
        meter
    }

    /// A chat request of 300 bytes: 100 tokens by our estimate.
    fn chat(abandoned: Abandoned) -> Meter {
        meter(abandoned, Endpoint::ChatCompletions, Facts { body_bytes: 300, ..Facts::default() }, by_token())
    }

    fn tokens(input_tokens: u64, output_tokens: u64) -> Usage {
        Usage { input_tokens, output_tokens, ..Usage::NONE }
    }

    #[test]
    fn a_whole_answer_is_booked_as_the_vendor_reports_it() {
        let meter = chat(Abandoned::Seen);
        meter.call();
        meter.deliver(tokens(0, 70));
        meter.report(tokens(40, 60));
        meter.complete();
        let booked = meter.book(Ended::Whole);
        assert_eq!((booked.outcome, booked.usage, booked.estimated), (Outcome::Completed, tokens(40, 60), false));
        assert_eq!(booked.cost.as_nanos(), 40 * 1_000 + 60 * 2_000);
    }

    #[test]
    fn the_first_books_stand() {
        let meter = chat(Abandoned::Seen);
        meter.call();
        let first = meter.book(Ended::Dropped);
        meter.report(tokens(1, 1));
        meter.complete();
        assert_eq!(meter.book(Ended::Whole), first);
    }

    #[test]
    fn a_caller_who_left_pays_input_and_what_was_delivered_and_never_nothing() {
        let meter = chat(Abandoned::Seen);
        assert_eq!(meter.book(Ended::Dropped).usage, Usage::NONE, "the vendor was not called");

        let meter = chat(Abandoned::Seen);
        meter.call();
        let booked = meter.book(Ended::Dropped);
        assert_eq!((booked.outcome, booked.usage, booked.estimated), (Outcome::ClientClosed, tokens(100, 0), true));

        let meter = chat(Abandoned::Seen);
        meter.call();
        meter.deliver(tokens(0, 7));
        assert_eq!(meter.book(Ended::Dropped).usage, tokens(100, 7));
    }

    #[test]
    fn a_report_in_the_middle_is_a_floor_for_what_was_delivered() {
        let meter = chat(Abandoned::Seen);
        meter.call();
        meter.report(tokens(25, 1));
        meter.deliver(tokens(0, 7));
        let booked = meter.book(Ended::Dropped);
        assert_eq!((booked.usage, booked.estimated), (tokens(25, 7), true));
    }

    #[test]
    fn media_requests_are_never_nothing_either() {
        let n = Some(Located { value: 3, at: 0..0 });
        let of = |endpoint, facts| {
            let meter = meter(Abandoned::Seen, endpoint, facts, terms(Rates::default()));
            meter.call();
            meter.book(Ended::Dropped).usage
        };
        let images = of(Endpoint::ImageGenerations, Facts { n, body_bytes: 90, ..Facts::default() });
        assert_eq!(images, Usage { images: 3, ..Usage::NONE });
        let speech = of(Endpoint::Speech, Facts { input_chars: Some(12), ..Facts::default() });
        assert_eq!(speech, Usage { characters: 12, ..Usage::NONE });
        let heard = of(Endpoint::Transcriptions, Facts { body_bytes: 32_001, ..Facts::default() });
        assert_eq!(heard, Usage { audio_seconds: 3, ..Usage::NONE });
    }

    #[test]
    fn an_estimate_stays_within_the_hold_and_a_report_need_not() {
        let held = Amounts { spend: Money::from_nanos(50_000), ..Amounts::of_request(&tokens(30, 5), Money::ZERO) };
        let meter = chat(Abandoned::Seen);
        meter.hold(held);
        meter.call();
        meter.deliver(tokens(0, 7));
        let booked = meter.book(Ended::Dropped);
        assert_eq!((booked.usage, booked.cost.as_nanos()), (tokens(30, 5), 40_000));

        let meter = chat(Abandoned::Seen);
        meter.hold(held);
        meter.call();
        meter.report(tokens(100, 50));
        meter.complete();
        assert_eq!(meter.book(Ended::Whole).usage, tokens(100, 50));
    }

    #[test]
    fn abandoned_held_books_the_whole_hold_for_a_caller_who_left_and_for_nobody_else() {
        let held = Amounts { spend: Money::from_nanos(900_000), ..Amounts::of_request(&tokens(300, 200), Money::ZERO) };
        let booked = |provider_fails: bool| {
            let meter = chat(Abandoned::Held);
            meter.hold(held);
            meter.call();
            meter.deliver(tokens(0, 7));
            if provider_fails {
                meter.fail(&Error::provider(Code::ProviderError, "lost"));
            }
            meter.book(Ended::Dropped)
        };
        let left = booked(false);
        assert_eq!((left.usage, left.cost, left.estimated), (tokens(300, 200), held.spend, true));
        assert_eq!(booked(true).usage, tokens(100, 7));
    }

    #[test]
    fn a_vendor_that_failed_before_any_output_is_not_paid() {
        let meter = chat(Abandoned::Seen);
        meter.call();
        meter.report(tokens(25, 1));
        meter.fail(&Error::provider(Code::ProviderOverloaded, "busy"));
        let booked = meter.book(Ended::Whole);
        assert_eq!((booked.outcome, booked.usage), (Outcome::ProviderFailed, Usage::NONE));
        assert_eq!(booked.amounts(), Some(Amounts::ONE_REQUEST), "the request itself is kept");
    }

    #[test]
    fn a_price_by_the_request_is_paid_without_a_report() {
        let rates = Rates { per_request: Rate::per_unit("0.01").ok(), ..Rates::default() };
        let meter = meter(Abandoned::Seen, Endpoint::Transcriptions, Facts::default(), terms(rates));
        meter.call();
        meter.complete();
        assert_eq!(meter.book(Ended::Whole).cost.as_nanos(), 10_000_000);
    }

    #[test]
    fn a_refusal_counts_nowhere_but_not_once_the_vendor_was_called() {
        let refusal = Error::new(Code::QuotaExceeded, "spent");
        let meter = chat(Abandoned::Seen);
        meter.fail(&refusal);
        let booked = meter.book(Ended::Whole);
        assert_eq!((booked.outcome, booked.amounts()), (Outcome::Refused, None));

        let meter = chat(Abandoned::Seen);
        meter.call();
        meter.fail(&refusal);
        assert_eq!(meter.book(Ended::Whole).outcome, Outcome::Failed);
    }

    #[test]
    fn outcomes_tell_who_ended_it() {
        let after = |prepare: &dyn Fn(&Meter), ended| {
            let meter = chat(Abandoned::Seen);
            meter.call();
            prepare(&meter);
            meter.book(ended).outcome
        };
        assert_eq!(after(&|_| {}, Ended::Whole), Outcome::Truncated);
        assert_eq!(after(&|_| {}, Ended::Failed), Outcome::Failed);
        assert_eq!(after(&|_| {}, Ended::Panicked), Outcome::Failed);
        assert_eq!(after(&Meter::complete, Ended::Failed), Outcome::Completed);
        assert_eq!(after(&Meter::complete, Ended::Dropped), Outcome::ClientClosed, "its last frame was not delivered");
        assert_eq!(
            Meter::new(Abandoned::Seen).book(Ended::Whole).outcome,
            Outcome::Completed,
            "a handler's own answer"
        );
    }

    #[test]
    fn units_that_a_handler_adds_are_priced() {
        let meter = chat(Abandoned::Seen);
        meter.add(tokens(10, 0));
        meter.add(tokens(5, 0));
        let booked = meter.book(Ended::Whole);
        assert_eq!((booked.usage, booked.cost.as_nanos(), booked.estimated), (tokens(15, 0), 15_000, false));
    }
}
