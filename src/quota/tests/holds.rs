//! What a request holds, and what is refused because nothing bounds it.

use super::*;

fn reckoned(endpoint: Endpoint, facts: Facts, terms: Option<Arc<ModelTerms>>, limits: &[Limit]) -> Result<Hold, Error> {
    let call = Call::new(endpoint, facts, Segments::default(), terms);
    hold::reckon(&call, &limits.iter().cloned().map(Arc::new).collect::<Vec<_>>())
}

fn spend() -> Vec<Limit> {
    vec![limit(Measure::Spend, Some(Per::Month), 1_000_000_000)]
}

#[test]
fn a_chat_holds_its_text_its_parts_and_every_choice_at_its_bound() {
    let facts = Facts {
        media_bytes: 400,
        media_parts: 2,
        n: at(3),
        max_tokens: at(100),
        max_completion_tokens: at(50),
        ..facts()
    };
    let hold = reckoned(Endpoint::ChatCompletions, facts, priced(tokens(), Some(4_096)), &spend()).unwrap();
    assert_eq!(hold.amounts.input_tokens, 600 + 2 * 50_000);
    assert_eq!(hold.amounts.output_tokens, (50 + 7) * 3);
    assert_eq!(hold.amounts.spend, Money::from_nanos(100_600 * 1_000 + 171 * 2_000));
    assert_eq!(hold.output_bound, Some(50));
}

#[test]
fn without_a_bound_of_the_callers_the_models_ceiling_is_held_and_sent() {
    let hold = reckoned(Endpoint::ChatCompletions, facts(), priced(tokens(), Some(4_096)), &spend()).unwrap();
    assert_eq!((hold.amounts.output_tokens, hold.output_bound), (4_096 + 7, Some(4_096)));
    let huge = Facts { max_tokens: at(u64::MAX), ..facts() };
    let hold = reckoned(Endpoint::ChatCompletions, huge, priced(tokens(), Some(4_096)), &spend()).unwrap();
    assert_eq!(hold.output_bound, Some(4_096));
}

#[test]
fn absurd_numbers_saturate() {
    let facts = Facts { n: at(u64::MAX), max_tokens: at(u64::MAX), ..facts() };
    let hold = reckoned(Endpoint::ChatCompletions, facts, priced(tokens(), None), &spend()).unwrap();
    assert_eq!(hold.amounts.output_tokens, u64::MAX);
    assert_eq!(hold.amounts.spend, Money::from_nanos(u64::MAX));
}

#[test]
fn what_has_no_bound_or_no_price_is_refused_under_enforced_limits_alone() {
    let tokens_limit = || vec![limit(Measure::Tokens, Some(Per::Minute), 1_000)];
    let chat = Endpoint::ChatCompletions;
    let unbounded = || Facts { unbounded: Some("web_search_options".to_owned()), max_tokens: at(5), ..facts() };
    let bounded = || Facts { max_tokens: at(5), ..facts() };
    let image_only = || Price::flat(Rates { per_image: Rate::per_unit("0.01").ok(), ..Rates::default() });
    let cases = [
        (chat, unbounded(), priced(tokens(), None), spend(), Code::UnsupportedParameter, "web_search_options"),
        (chat, unbounded(), priced(tokens(), None), tokens_limit(), Code::UnsupportedParameter, "web_search_options"),
        (chat, facts(), priced(tokens(), None), tokens_limit(), Code::InvalidParameter, "max_tokens"),
        (chat, facts(), priced(tokens(), None), spend(), Code::InvalidParameter, "max_tokens"),
        (Endpoint::Responses, facts(), priced(tokens(), None), spend(), Code::InvalidParameter, "max_output_tokens"),
        (chat, Facts { n: at(0), ..bounded() }, priced(tokens(), None), spend(), Code::InvalidParameter, "n"),
        (
            chat,
            Facts { max_tokens: at(0), ..facts() },
            priced(tokens(), None),
            spend(),
            Code::InvalidParameter,
            "max_tokens",
        ),
        (chat, bounded(), priced(Price::Unpriced, None), spend(), Code::ModelNotPriced, "model"),
        (chat, bounded(), priced(image_only(), None), spend(), Code::ModelNotPriced, "model"),
        (chat, bounded(), None, spend(), Code::ModelNotPriced, "model"),
        (chat, facts(), priced(Price::Unpriced, None), spend(), Code::ModelNotPriced, "model"),
        (Endpoint::VideoGenerations, facts(), priced(tokens(), Some(9)), spend(), Code::MissingParameter, "duration"),
    ];
    for (endpoint, facts, terms, limits, code, param) in cases {
        let error = reckoned(endpoint, facts.clone(), terms.clone(), &limits).unwrap_err();
        assert_eq!((error.code(), error.param_name()), (code, Some(param)));
        let shadows: Vec<_> = limits.into_iter().map(shadow).collect();
        let hold = reckoned(endpoint, facts, terms, &shadows).unwrap();
        assert_eq!(hold.output_bound, None, "a shadow limit changes nothing that is sent");
    }
}

#[test]
fn a_free_model_needs_no_bound_under_a_spend_limit() {
    let hold = reckoned(Endpoint::ChatCompletions, facts(), priced(Price::Free, None), &spend()).unwrap();
    assert_eq!((hold.amounts.spend, hold.output_bound), (Money::ZERO, None));
}

#[test]
fn media_hold_the_units_that_they_are_priced_by() {
    let per = |set: fn(&mut Rates)| {
        let mut rates = Rates::default();
        set(&mut rates);
        priced(Price::flat(rates), None)
    };
    let held = |endpoint, facts, terms| reckoned(endpoint, facts, terms, &spend()).unwrap().amounts;

    let images = held(
        Endpoint::ImageGenerations,
        Facts { n: at(4), ..facts() },
        per(|r| r.per_image = Rate::per_unit("0.01").ok()),
    );
    assert_eq!((images.images, images.spend.as_nanos(), images.input_tokens), (4, 40_000_000, 0));
    let video = Facts { seconds: Some(6), ..facts() };
    let video = held(Endpoint::VideoGenerations, video, per(|r| r.per_video_second = Rate::per_unit("0.01").ok()));
    assert_eq!((video.video_seconds, video.spend.as_nanos()), (6, 60_000_000));
    let speech = Facts { input_weight: Some(20), ..facts() };
    let speech = held(Endpoint::Speech, speech, per(|r| r.per_character = Rate::per_unit("0.01").ok()));
    assert_eq!((speech.characters, speech.spend.as_nanos()), (20, 200_000_000));
    let upload = Facts { recording: Some(AudioLength::AtMost(2)), ..facts() };
    let upload = held(Endpoint::Transcriptions, upload, per(|r| r.per_audio_second = Rate::per_unit("0.01").ok()));
    assert_eq!((upload.audio_seconds, upload.spend.as_nanos()), (2, 20_000_000));
    let embedding = held(Endpoint::Embeddings, facts(), per(|r| r.input = Rate::per_unit("0.01").ok()));
    assert_eq!((embedding.input_tokens, embedding.output_tokens), (1_000, 0));
}

#[test]
fn pictures_that_are_priced_by_token_hold_the_models_ceiling_and_their_input_each() {
    let terms = crate::provider::known::known("openai-image").unwrap().terms();
    let ceiling = terms.max_output_tokens.unwrap();
    let facts = Facts { n: at(3), body_bytes: 1_100, media_bytes: 1_000, media_parts: 1, ..facts() };
    let hold = reckoned(Endpoint::ImageEdits, facts, Some(Arc::new(terms)), &spend()).unwrap();
    let Amounts { images, input_tokens, output_tokens, spend, .. } = hold.amounts;
    assert_eq!((images, output_tokens, input_tokens), (3, 3 * ceiling, 3 * (100 + 50_000)));
    assert_eq!(spend.as_nanos(), (30 * output_tokens + 8 * input_tokens) * 1_000);
    assert_eq!(hold.output_bound, None, "the vendor has no such bound to be sent");
}

#[test]
fn without_limits_what_is_not_known_is_held_as_nothing() {
    let hold = reckoned(Endpoint::ChatCompletions, facts(), priced(tokens(), None), &[]).unwrap();
    let Amounts { requests, input_tokens, output_tokens, spend, .. } = hold.amounts;
    assert_eq!((requests, input_tokens, output_tokens, spend), (1, 1_000, 0, Money::ZERO));
    assert_eq!(hold.output_bound, None);
}
