use super::*;

use std::collections::HashMap;
use std::sync::Arc;

use http::Response;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::base::money::Rate;
use crate::domain::modality::Modality;
use crate::domain::model::ModelTerms;
use crate::domain::price::{Price, Rates};
use crate::http::fetch::Fetch;
use crate::provider::echo::Echo;
use crate::provider::traits::{Credential, Timeouts};

fn target(price: Price) -> Target {
    let mut terms = ModelTerms::new("m", Modality::Image);
    terms.price = price;
    Target {
        provider: "p".into(),
        codec: Arc::new(Echo),
        base_url: "http://vendor.test".parse().unwrap(),
        credential: Arc::new(Credential::None),
        upstream: "m".into(),
        terms: Arc::new(terms),
        timeouts: Timeouts::default(),
        content_hosts: Arc::new(["127.0.0.1:9".to_owned()]),
    }
}

/// A vendor whose answers are `{"u":…}` for a URL, `{"b":…}` for base64, `{"{\"!\":\"x\"}":…}` for a refusal.
fn read(outline: &Outline) -> Result<Taken, Error> {
    let answer: HashMap<&str, &RawValue> = serde_json::from_slice(outline.rest()).unwrap_or_default();
    let text = |key| answer.get(key).and_then(|raw| outline.text(raw));
    let made = match (text("u"), text("b"), text("!")) {
        (Some(url), ..) => Made::Url(url),
        (_, Some(text), _) => Made::Base64 { media_type: "image/png".into(), text },
        (.., Some(_)) => return Err(Error::provider(Code::ContentPolicyViolation, "Refused.")),
        _ => return Err(Error::provider(Code::ProviderError, "Broken.")),
    };
    Ok(Taken { made: vec![made], usage: Usage { input_tokens: 3, ..Usage::NONE }, is_answer: true, ..Taken::default() })
}

fn exchange(calls: u64, form: Option<Form>, price: Price) -> Exchange {
    let plan = Plan {
        request: Request::post("http://vendor.test/make").body(CallBody::from(Bytes::from_static(b"{}"))).unwrap(),
        calls,
        form,
        size: None,
        quality: None,
        warnings: Vec::new(),
        dropped: Vec::new().into(),
        hosts: &["*.cdn.test"],
        read,
        is_final: true,
    };
    plan.into_exchange(&target(price))
}

/// Plays the vendor's answers, a step each; an `Err` is a step that fails. Gives the bytes that came out, what was asked
/// for, and the output.
fn play(exchange: Exchange, answers: &[Result<&str, Code>]) -> (Result<Vec<u8>, Error>, Vec<String>, Output) {
    let (mut decoder, mut out, mut asked) = (exchange.decoder, Output::default(), Vec::new());
    let mut next = exchange.request;
    for answer in answers {
        let request = next.take().expect("a step too many was played");
        assert_eq!(request.uri().path() == "/make", request.extensions().get::<Fetch>().is_none());
        asked.push(request.uri().to_string());
        decoder.head(&Response::new(()).into_parts().0).unwrap();
        let step = match answer {
            Ok(body) => {
                let mut pieces = body.as_bytes().chunks(2);
                let pushed = pieces.try_for_each(|piece| decoder.push(Bytes::copy_from_slice(piece), &mut out));
                pushed.and_then(|()| decoder.finish(&mut out))
            }
            Err(code) => Err(Error::provider(*code, "The vendor failed.")),
        };
        if let Err(error) = step.or_else(|error| decoder.stumbled(error, &mut out)) {
            return (Err(error), asked, out);
        }
        next = decoder.next_request();
        assert!(next.is_none() || !out.has_frames(), "a step before the last put something out");
    }
    assert!(next.is_none(), "a step was left out");
    let mut bytes = Vec::new();
    while let Some(frame) = out.next_frame() {
        bytes.extend_from_slice(&frame);
    }
    (Ok(bytes), asked, out)
}

/// Plays the answers to several calls in the order in which they end, until the decoder wants no more sent. Gives the bytes
/// that came out, how many answers were taken, and the output.
fn play_beside(
    mut exchange: Exchange,
    answers: &[(usize, Result<&'static str, Code>)],
) -> (Result<Vec<u8>, Error>, usize, Output) {
    let (mut out, mut taken) = (Output::default(), 0);
    for request in exchange.decoder.beside().iter().chain(&exchange.request) {
        assert_eq!(request.uri().path(), "/make");
    }
    assert!(exchange.decoder.beside().is_empty(), "they are handed out once");
    for (at, answer) in answers {
        let answer = answer.map(|body| Segments::from(Bytes::from_static(body.as_bytes())));
        let answer = answer.map_err(|code| Error::provider(code, "The vendor failed."));
        taken += 1;
        if !exchange.decoder.part(*at, answer, &mut out) {
            break;
        }
        assert!(!out.has_frames());
    }
    exchange.decoder.head(&Response::new(()).into_parts().0).unwrap();
    if let Err(error) = exchange.decoder.finish(&mut out) {
        return (Err(error), taken, out);
    }
    let mut bytes = Vec::new();
    while let Some(frame) = out.next_frame() {
        bytes.extend_from_slice(&frame);
    }
    (Ok(bytes), taken, out)
}

fn json_of(bytes: Result<Vec<u8>, Error>) -> Value {
    let mut value: Value = serde_json::from_slice(&bytes.unwrap()).unwrap();
    value.as_object_mut().unwrap().remove("created");
    value.as_object_mut().unwrap().remove("usage");
    value
}

#[test]
fn one_answer_in_the_callers_shape_goes_on_as_it_is() {
    for (answer, form) in
        [("{\"u\":\"x\"}", None), ("{\"u\":\"x\"}", Some(Form::Url)), ("{\"b\":\"x\"}", Some(Form::Base64))]
    {
        let (bytes, _, out) = play(exchange(1, form, Price::Unpriced), &[Ok(answer)]);
        assert_eq!(bytes.unwrap(), answer.as_bytes());
        assert_eq!((out.usage().unwrap().images, out.is_complete()), (1, true));
    }
}

#[test]
fn several_pictures_are_several_calls_and_one_answer_in_their_order() {
    let answers = [(2, Ok("{\"b\":\"c\"}")), (0, Ok("{\"b\":\"a\"}")), (1, Ok("{\"b\":\"b\"}"))];
    let (bytes, _, out) = play_beside(exchange(3, Some(Form::Base64), Price::Unpriced), &answers);
    assert_eq!(json_of(bytes), json!({"data": [{"b64_json": "a"}, {"b64_json": "b"}, {"b64_json": "c"}]}));
    assert_eq!((out.usage().unwrap(), out.is_complete()), (Usage { images: 3, ..Usage::NONE }, true));
}

#[test]
fn tokens_count_where_the_price_goes_by_them() {
    let rates = Rates { input: Rate::per_million("1").ok(), ..Rates::NONE };
    let (_, _, out) =
        play_beside(exchange(2, None, Price::flat(rates)), &[(0, Ok("{\"b\":\"a\"}")), (1, Ok("{\"b\":\"b\"}"))]);
    assert_eq!(out.usage().unwrap(), Usage { images: 2, input_tokens: 6, ..Usage::NONE });
}

#[test]
fn what_has_come_so_far_is_known_before_all_has() {
    let mut exchange = exchange(3, None, Price::Unpriced);
    let mut out = Output::default();
    assert_eq!(exchange.decoder.beside().len(), 2);
    exchange.decoder.part(1, Ok(Bytes::from_static(b"{\"b\":\"b\"}").into()), &mut out);
    assert_eq!((out.delivered().images, out.usage(), out.has_frames()), (1, None, false));
}

#[test]
fn a_url_is_fetched_where_the_picture_was_asked_for() {
    let form = Some(Form::Base64);
    let (bytes, asked, _) = play(
        exchange(1, form, Price::Unpriced),
        &[Ok("{\"u\":\"https:\\/\\/a.cdn.test\\/p?sig=1\"}"), Ok("\u{7f}PNG")],
    );
    assert_eq!(asked[1], "https://a.cdn.test/p?sig=1");
    assert_eq!(json_of(bytes), json!({"data": [{"b64_json": "f1BORw=="}]}));
    let (bytes, ..) = play(exchange(1, form, Price::Unpriced), &[Ok("{\"u\":\"http://127.0.0.1:9/p\"}"), Ok("abc")]);
    assert_eq!(json_of(bytes), json!({"data": [{"b64_json": "YWJj"}]}));
}

#[test]
fn a_picture_that_may_not_or_cannot_be_fetched_stays_a_url_and_says_why() {
    let form = Some(Form::Base64);
    let (bytes, asked, out) = play(exchange(1, form, Price::Unpriced), &[Ok("{\"u\":\"https://evil.test/p\"}")]);
    let value = json_of(bytes);
    assert_eq!((asked.len(), &value["data"][0]["url"]), (1, &json!("https://evil.test/p")));
    assert!(value["warnings"][0].as_str().unwrap().contains("content_hosts"));
    assert_eq!(out.usage().unwrap().images, 1, "it was made, and is billed");
    for failing in [Err(Code::ProviderTimeout), Ok("")] {
        let (bytes, ..) = play(exchange(1, form, Price::Unpriced), &[Ok("{\"u\":\"https://a.cdn.test/p\"}"), failing]);
        let value = json_of(bytes);
        assert_eq!(value["data"][0]["url"], "https://a.cdn.test/p");
        assert!(value["warnings"][0].as_str().unwrap().starts_with("Picture 1 is given as a URL."));
    }
}

#[test]
fn what_was_made_beside_a_failure_is_given_and_billed() {
    let form = Some(Form::Base64);
    // A refusal costs one picture.
    let answers = [(1, Ok("{\"!\":\"x\"}")), (2, Ok("{\"b\":\"c\"}")), (0, Ok("{\"b\":\"a\"}"))];
    let (bytes, taken, out) = play_beside(exchange(3, form, Price::Unpriced), &answers);
    let value = json_of(bytes);
    assert_eq!((taken, out.usage().unwrap().images), (3, 2));
    assert_eq!(value["data"], json!([{"b64_json": "a"}, {"b64_json": "c"}]));
    assert_eq!(value["warnings"], json!(["Picture 2 was not made. Refused."]));
    // Anything else costs those that have not been sent as well.
    let answers = [(0, Ok("{\"b\":\"a\"}")), (1, Err(Code::ProviderRateLimited)), (2, Ok("never"))];
    let (bytes, taken, out) = play_beside(exchange(3, form, Price::Unpriced), &answers);
    assert_eq!((taken, out.usage().unwrap().images), (2, 1));
    let value = json_of(bytes);
    assert_eq!(value["data"], json!([{"b64_json": "a"}]));
    let told = ["Picture 2 was not made. The vendor failed.", "Picture 3 was not asked for after another had failed."];
    assert_eq!(value["warnings"], json!(told));
}

#[test]
fn urls_of_several_calls_are_fetched_one_by_one() {
    let mut exchange = exchange(2, Some(Form::Base64), Price::Unpriced);
    let (decoder, mut out) = (&mut exchange.decoder, Output::default());
    assert_eq!(decoder.beside().len(), 1);
    for at in [1, 0] {
        decoder.part(at, Ok(Bytes::from(format!("{{\"u\":\"https://a.cdn.test/{at}\"}}")).into()), &mut out);
    }
    decoder.finish(&mut out).unwrap();
    for (path, bytes) in [("/0", "abc"), ("/1", "def")] {
        assert_eq!(decoder.next_request().unwrap().uri().path(), path);
        decoder.push(Bytes::from_static(bytes.as_bytes()), &mut out).unwrap();
        decoder.finish(&mut out).unwrap();
    }
    assert!(decoder.next_request().is_none() && out.is_complete());
    let mut bytes = Vec::new();
    while let Some(frame) = out.next_frame() {
        bytes.extend_from_slice(&frame);
    }
    assert_eq!(json_of(Ok(bytes))["data"], json!([{"b64_json": "YWJj"}, {"b64_json": "ZGVm"}]));
}

#[test]
fn where_nothing_was_made_the_first_failure_is_the_answer() {
    for (answer, code) in [
        (Ok("{\"!\":\"x\"}"), Code::ContentPolicyViolation),
        (Ok("?"), Code::ProviderError),
        (Err(Code::ProviderRateLimited), Code::ProviderRateLimited),
    ] {
        let (result, asked, out) = play(exchange(1, None, Price::Unpriced), &[answer]);
        assert_eq!((result.unwrap_err().code(), asked.len()), (code, 1));
        assert!(!out.is_complete() && out.delivered() == Usage::NONE);
        // The first by its place, not by its time.
        let answers = [(1, Ok("{\"!\":\"x\"}")), (0, answer)];
        let (result, _, out) = play_beside(exchange(2, None, Price::Unpriced), &answers);
        assert_eq!(result.unwrap_err().code(), code);
        assert!(!out.is_complete() && out.delivered() == Usage::NONE);
    }
}

#[test]
fn an_answer_larger_than_a_picture_is_refused() {
    let mut decoder = exchange(1, Some(Form::Base64), Price::Unpriced).decoder;
    let mut out = Output::default();
    decoder.push(Bytes::from_static(b"{\"u\":\"https://a.cdn.test/p\"}"), &mut out).unwrap();
    decoder.finish(&mut out).unwrap();
    decoder.next_request().unwrap();
    let piece = Bytes::from(vec![0; 1 << 20]);
    let failed = (0..64).position(|_| decoder.push(piece.clone(), &mut out).is_err());
    assert_eq!(failed, Some(32));
}

/// A picture in base64 that is long enough to be kept apart.
fn long_picture() -> String {
    format!("iVBORw0KGgo{}", "AbC/".repeat(2_000))
}

/// All that `document` comes to in pieces of `size` bytes, how it ended, and the output.
fn shown(document: &str, size: usize) -> (Vec<u8>, Result<(), Error>, Output) {
    let (mut decoder, mut out) = (exchange(1, Some(Form::Url), Price::Unpriced).decoder, Output::default());
    let document = Bytes::copy_from_slice(document.as_bytes());
    let mut pieces = (0..document.len()).step_by(size).map(|at| document.slice(at..document.len().min(at + size)));
    let pushed = pieces.try_for_each(|piece| decoder.push(piece, &mut out));
    let ended = pushed.and_then(|()| decoder.finish(&mut out));
    let mut bytes = Vec::new();
    while let Some(frame) = out.next_frame() {
        bytes.extend_from_slice(&frame);
    }
    (bytes, ended, out)
}

#[test]
fn a_picture_goes_on_while_it_comes_in_the_vendors_own_bytes() {
    let (mut decoder, mut out) = (exchange(1, Some(Form::Url), Price::Unpriced).decoder, Output::default());
    let picture = long_picture();
    let begun = Bytes::from(format!("{{\"b\":\"{picture}"));
    decoder.push(begun.clone(), &mut out).unwrap();
    let frames: Vec<_> = std::iter::from_fn(|| out.next_frame()).collect();
    let last = frames.last().unwrap();
    assert!(begun.as_ptr_range().contains(&last.as_ptr()) && begun.as_ptr_range().end == last.as_ptr_range().end);
    assert!(frames.concat().ends_with(format!("{{\"url\":\"data:image/png;base64,{picture}").as_bytes()));
    assert_eq!((out.delivered(), out.is_complete()), (Usage::NONE, false));
    decoder.push(Bytes::from_static(b"\""), &mut out).unwrap();
    assert_eq!(out.delivered().images, 1, "it has come whole");
    decoder.push(Bytes::from_static(b"}"), &mut out).unwrap();
    decoder.finish(&mut out).unwrap();
    assert_eq!((out.usage().unwrap().images, out.is_complete()), (1, true));
}

#[test]
fn the_cut_of_a_picture_that_goes_on_does_not_matter() {
    let (picture, note) = (long_picture(), "a [\\\" note} ".repeat(200));
    let document = format!("{{\"note\":[[\"{note}\", {{}}],\"}}\"], \"b\" : \"{picture}\", \"c\": [\"{note}\"] }} ");
    for size in [1, 2, 3, 7, 1_000, 1_024, 1_025, 1_026, 5_000, document.len()] {
        let (bytes, ended, out) = shown(&document, size);
        ended.unwrap();
        let url = format!("data:image/png;base64,{picture}");
        assert_eq!(json_of(Ok(bytes)), json!({"data": [{"url": url}]}), "{size}");
        assert!(out.is_complete());
    }
}

#[test]
fn a_picture_that_breaks_off_is_told_wherever_it_does() {
    let document = format!("{{\"b\":\"{}\",\"c\":[1]}}", long_picture());
    let closed = document.rfind("\",\"c").unwrap() + 1;
    for cut in (0..document.len()).filter(|cut| *cut < 20 || (1_000..1_100).contains(cut) || *cut > closed - 20) {
        let (bytes, ended, out) = shown(&document[..cut], 100);
        assert!(!out.is_complete(), "{cut}");
        assert_eq!(ended.is_err(), bytes.is_empty(), "{cut}: a status while there is one to give");
        assert_eq!(out.delivered().images, u64::from(cut >= closed), "{cut}: what came whole is billed");
    }
}

#[test]
fn a_picture_of_a_type_that_its_bytes_do_not_tell_waits_for_the_vendors_word() {
    let unknown = "AbC/".repeat(2_000);
    let (bytes, ended, _) = shown(&format!("{{\"b\":\"{unknown}\"}}"), 1_000);
    ended.unwrap();
    assert_eq!(json_of(Ok(bytes))["data"][0]["url"], format!("data:image/png;base64,{unknown}"));
    let mut decoder = exchange(1, Some(Form::Url), Price::Unpriced).decoder;
    let mut out = Output::default();
    decoder.push(Bytes::from(format!("{{\"b\":\"{unknown}")), &mut out).unwrap();
    assert!(!out.has_frames());
}

#[test]
fn a_picture_that_was_none_after_all_is_no_whole_answer() {
    let (_, ended, out) = shown(&format!("{{\"b\":\"{}\",\"u\":\"https://a.cdn.test/p\"}}", long_picture()), 1_000);
    assert_eq!((ended.unwrap_err().code(), out.is_complete()), (Code::ProviderError, false));
}
