use crate::base::error::Error;
use crate::base::money::Rate;
use crate::domain::price::{Price, Rates};

use super::*;
use crate::http::body::Segments;
use crate::http::call::{AudioLength, Facts, Located};
use crate::http::meter::Meter;

fn terms(rates: Rates) -> Arc<ModelTerms> {
    Arc::new(ModelTerms { price: Price::flat(rates), ..ModelTerms::new("m", Modality::Text) })
}

/// A dollar a million input tokens, two a million output tokens: 1,000 and 2,000 nano-dollars each.
fn by_token() -> Arc<ModelTerms> {
    terms(Rates { input: Rate::per_million("1").ok(), output: Rate::per_million("2").ok(), ..Rates::default() })
}

fn meter(abandoned: Abandoned, endpoint: Endpoint, facts: Facts, terms: Arc<ModelTerms>) -> Meter {
    let meter = Meter::new(abandoned);
    meter.identify(&Call::new(endpoint, facts, Segments::default(), Some(terms)), None).unwrap();
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
    meter.call().unwrap();
    meter.deliver(tokens(0, 70));
    meter.report(tokens(40, 60));
    meter.complete();
    let booked = meter.book(Ended::Whole);
    assert_eq!((booked.outcome, booked.usage, booked.estimated), (Outcome::Completed, tokens(40, 60), false));
    assert_eq!(booked.cost.as_nanos(), 40 * 1_000 + 60 * 2_000);
}

#[test]
fn a_report_that_cannot_be_is_none_and_one_without_input_is_the_vendors_word() {
    for wrong in [tokens(1_000_000_000_000_000_000, 9), tokens(21, u64::MAX)] {
        let meter = chat(Abandoned::Seen);
        meter.call().unwrap();
        meter.deliver(tokens(0, 7));
        meter.report(wrong);
        meter.complete();
        let booked = meter.book(Ended::Whole);
        assert_eq!((booked.outcome, booked.usage, booked.estimated), (Outcome::Completed, tokens(100, 7), true));
    }
    let meter = chat(Abandoned::Seen);
    meter.call().unwrap();
    meter.report(tokens(0, 9));
    meter.complete();
    let booked = meter.book(Ended::Whole);
    assert_eq!((booked.usage, booked.estimated), (tokens(0, 9), false));
}

#[test]
fn a_report_of_nothing_is_not_whole() {
    let meter = chat(Abandoned::Seen);
    meter.call().unwrap();
    meter.report(tokens(0, 0));
    meter.complete();
    let booked = meter.book(Ended::Whole);
    assert_eq!((booked.usage, booked.estimated), (tokens(100, 0), true));
}

#[test]
fn the_first_books_stand() {
    let meter = chat(Abandoned::Seen);
    meter.call().unwrap();
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
    meter.call().unwrap();
    let booked = meter.book(Ended::Dropped);
    assert_eq!((booked.outcome, booked.usage, booked.estimated), (Outcome::ClientClosed, tokens(100, 0), true));

    let meter = chat(Abandoned::Seen);
    meter.call().unwrap();
    meter.deliver(tokens(0, 7));
    assert_eq!(meter.book(Ended::Dropped).usage, tokens(100, 7));
}

#[test]
fn a_report_in_the_middle_is_a_floor_for_what_was_delivered() {
    let meter = chat(Abandoned::Seen);
    meter.call().unwrap();
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
        meter.call().unwrap();
        meter.book(Ended::Dropped).usage
    };
    let images = of(Endpoint::ImageGenerations, Facts { n, body_bytes: 90, ..Facts::default() });
    assert_eq!(images, Usage { images: 3, ..Usage::NONE });
    let speech = of(Endpoint::Speech, Facts { input_chars: Some(12), ..Facts::default() });
    assert_eq!(speech, Usage { characters: 12, ..Usage::NONE });
    let heard = of(Endpoint::Transcriptions, Facts { recording: Some(AudioLength::AtMost(3)), ..Facts::default() });
    assert_eq!(heard, Usage { audio_seconds: 3, ..Usage::NONE });
}

#[test]
fn an_estimate_stays_within_the_hold_and_a_report_need_not() {
    let held = Amounts { spend: Money::from_nanos(50_000), ..Amounts::of_request(&tokens(30, 5), Money::ZERO) };
    let meter = chat(Abandoned::Seen);
    meter.hold(held);
    meter.call().unwrap();
    meter.deliver(tokens(0, 7));
    let booked = meter.book(Ended::Dropped);
    assert_eq!((booked.usage, booked.cost.as_nanos()), (tokens(30, 5), 40_000));

    let meter = chat(Abandoned::Seen);
    meter.hold(held);
    meter.call().unwrap();
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
        meter.call().unwrap();
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
    meter.call().unwrap();
    meter.report(tokens(25, 1));
    meter.fail(&Error::provider(Code::ProviderOverloaded, "busy"));
    let booked = meter.book(Ended::Whole);
    assert_eq!((booked.outcome, booked.usage), (Outcome::ProviderFailed, Usage::NONE));
    assert_eq!(booked.amounts(), Some(Amounts::ONE_REQUEST), "the request itself is kept");
}

#[test]
fn a_vendor_in_whose_place_the_host_has_answered_may_bill_all_the_same() {
    let meter = chat(Abandoned::Seen);
    meter.call().unwrap();
    let booked = meter.book(Ended::Whole);
    assert_eq!((booked.outcome, booked.usage, booked.estimated), (Outcome::Failed, tokens(100, 0), true));
}

#[test]
fn a_meter_follows_one_call() {
    let call = || Call::new(Endpoint::ChatCompletions, Facts::default(), Segments::default(), Some(by_token()));
    let (first, other) = (call(), call());
    let meter = Meter::new(Abandoned::Seen);
    meter.identify(&first, None).unwrap();
    for ok in [meter.check(Some(&first)), meter.begin(Some(&first)), meter.begin(None)] {
        ok.unwrap();
    }
    for taken in [meter.check(None), meter.check(Some(&other)), meter.begin(Some(&other)), meter.identify(&other, None)]
    {
        assert_eq!(taken.unwrap_err().code(), Code::InternalError);
    }
    let read_once_more = call();
    meter.identify(&read_once_more, Some(&first)).unwrap();
    meter.begin(Some(&read_once_more)).unwrap();
    meter.send(Some(&read_once_more)).unwrap();
    assert!(meter.begin(Some(&read_once_more)).is_err() && meter.send(Some(&read_once_more)).is_err(), "it was sent");
}

#[test]
fn what_a_handler_has_added_is_kept_though_something_was_refused_in_its_requests_name() {
    let meter = Meter::new(Abandoned::Seen);
    assert!(meter.add_at(Usage { images: 3, ..Usage::NONE }, Money::from_nanos(5)));
    meter.fail(&Error::new(Code::QuotaExceeded, "spent"));
    let booked = meter.book(Ended::Whole);
    assert_eq!((booked.outcome, booked.usage.images, booked.cost.as_nanos()), (Outcome::Failed, 3, 5));
}

#[test]
fn units_may_come_with_a_cost_of_their_own() {
    let meter = Meter::new(Abandoned::Seen);
    assert!(meter.add_at(Usage { images: 2, ..Usage::NONE }, Money::from_nanos(7)));
    let booked = meter.book(Ended::Whole);
    assert_eq!((booked.usage.images, booked.cost.as_nanos(), booked.outcome), (2, 7, Outcome::Completed));
    assert!(!meter.add(tokens(1, 0)), "the books are made");
}

#[test]
fn a_price_by_the_request_is_paid_without_a_report() {
    let rates = Rates { per_request: Rate::per_unit("0.01").ok(), ..Rates::default() };
    let meter = meter(Abandoned::Seen, Endpoint::Transcriptions, Facts::default(), terms(rates));
    meter.call().unwrap();
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
    meter.call().unwrap();
    meter.fail(&refusal);
    assert_eq!(meter.book(Ended::Whole).outcome, Outcome::Failed);
}

#[test]
fn outcomes_tell_who_ended_it() {
    let after = |prepare: &dyn Fn(&Meter), ended| {
        let meter = chat(Abandoned::Seen);
        meter.call().unwrap();
        prepare(&meter);
        meter.book(ended).outcome
    };
    assert_eq!(after(&|meter| meter.deliver(tokens(0, 7)), Ended::Whole), Outcome::Truncated);
    assert_eq!(after(&|_| {}, Ended::Whole), Outcome::Failed, "somebody else has answered");
    let ended_early = |meter: &Meter| meter.cut_short(&Error::provider(Code::ProviderError, "cut"));
    assert_eq!(after(&ended_early, Ended::Whole), Outcome::Truncated);
    let fails_first = |meter: &Meter| {
        meter.fail(&Error::provider(Code::ProviderTimeout, "silence"));
        ended_early(meter);
    };
    assert_eq!(after(&fails_first, Ended::Whole), Outcome::ProviderFailed);
    assert_eq!(after(&|_| {}, Ended::Failed), Outcome::Failed);
    assert_eq!(after(&|_| {}, Ended::Panicked), Outcome::Failed);
    assert_eq!(after(&Meter::complete, Ended::Failed), Outcome::Completed);
    assert_eq!(after(&Meter::complete, Ended::Dropped), Outcome::ClientClosed, "its last frame was not delivered");
    assert_eq!(Meter::new(Abandoned::Seen).book(Ended::Whole).outcome, Outcome::Completed, "a handler's own answer");
}

#[test]
fn units_that_a_handler_adds_are_priced() {
    let meter = chat(Abandoned::Seen);
    meter.add(tokens(10, 0));
    meter.add(tokens(5, 0));
    let booked = meter.book(Ended::Whole);
    assert_eq!((booked.usage, booked.cost.as_nanos(), booked.estimated), (tokens(15, 0), 15_000, false));
}
