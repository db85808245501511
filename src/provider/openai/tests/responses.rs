//! `/v1/responses`: passed through, and metered by the event that ends it.

use super::*;

fn call(body: &str) -> Call {
    let bytes = Bytes::copy_from_slice(body.as_bytes());
    let pieces = vec![bytes.slice(..body.len() / 2), bytes.slice(body.len() / 2..)];
    let facts = peek(&pieces).expect(body);
    Call::new(Endpoint::Responses, facts, Segments::new(pieces), None)
}

fn encode(call: &Call) -> Result<Exchange, Error> {
    OpenAi::new(Dialect::OpenAi).encode(call, &target(Dialect::OpenAi, "up"))
}

fn sent(call: &Call) -> String {
    let request = encode(call).unwrap().request.unwrap();
    assert_eq!(request.uri(), "http://vendor.test/v1/responses");
    String::from_utf8(request.into_body().into_bytes().to_vec()).unwrap()
}

fn decode(content_type: &str, pieces: &[&[u8]]) -> (String, Output, Option<Error>) {
    let (body, out, failed) = read(encode(&call(r#"{"model":"m"}"#)).unwrap(), Some(content_type), pieces);
    (String::from_utf8(body).unwrap(), out, failed)
}

#[test]
fn nothing_is_stored_and_all_else_goes_on_byte_for_byte() {
    for (before, after) in [
        (r#"{"model":"m","input":"hi"}"#, r#"{"store":false,"model":"up","input":"hi"}"#),
        (r#"{"model":"m", "store" : true,"x":1.50}"#, r#"{"model":"up", "store" : false,"x":1.50}"#),
        (r#"{"store":null,"model":"m"}"#, r#"{"store":false,"model":"up"}"#),
        (r#"{"store":false,"model":"up"}"#, r#"{"store":false,"model":"up"}"#),
        (
            r#"{"model":"up","store":false,"stream":true,"stream_options":{"include_obfuscation":false}}"#,
            r#"{"model":"up","store":false,"stream":true,"stream_options":{"include_obfuscation":false}}"#,
        ),
    ] {
        assert_eq!(sent(&call(before)), after);
    }
}

#[test]
fn the_bound_of_the_hold_is_sent() {
    for (before, after) in [
        (r#"{"store":false,"model":"up"}"#, r#"{"max_output_tokens":7,"store":false,"model":"up"}"#),
        (
            r#"{"store":false,"model":"up","max_output_tokens":99}"#,
            r#"{"store":false,"model":"up","max_output_tokens":7}"#,
        ),
        (
            r#"{"store":false,"model":"up","max_output_tokens":null}"#,
            r#"{"store":false,"model":"up","max_output_tokens":7}"#,
        ),
    ] {
        assert_eq!(sent(&call(before).bound_output(7)), after);
    }
}

#[test]
fn what_the_vendor_would_keep_or_run_is_refused_before_the_call() {
    for (body, param) in [
        (r#"{"model":"m","background":true}"#, "background"),
        (r#"{"model":"m","previous_response_id":"resp_1"}"#, "previous_response_id"),
        (r#"{"model":"m","conversation":"conv_1"}"#, "conversation"),
        (r#"{"model":"m","prompt":{"id":"pmpt_1"}}"#, "prompt"),
        (r#"{"model":"m","tools":[{"type":"web_search"}]}"#, "tools[0].type"),
        (r#"{"model":"m","input":[{"type":"item_reference","id":"msg_1"}]}"#, "input[0]"),
    ] {
        let error = encode(&call(body)).unwrap_err();
        assert_eq!((error.code(), error.param_name()), (Code::UnsupportedParameter, Some(param)), "{body}");
    }
    for body in [
        r#"{"model":"m","background":false,"previous_response_id":null,"conversation":null}"#,
        r#"{"model":"m","tools":[{"type":"function","name":"f"},{"type":"custom","name":"c"}]}"#,
    ] {
        assert!(encode(&call(body)).is_ok(), "{body}");
    }
}

#[test]
fn vendors_without_the_route_say_so() {
    for dialect in [Dialect::DashScope, Dialect::Moonshot, Dialect::Ark] {
        assert!(!OpenAi::new(dialect).supports(Endpoint::Responses));
    }
    assert!(OpenAi::new(Dialect::Compatible).supports(Endpoint::Responses));
}

const STREAM: &str = include_str!("../../../../tests/fixtures/openai/response.sse");

#[test]
fn a_stream_is_complete_at_its_last_event_and_tells_its_usage() {
    let (body, out, failed) = decode("text/event-stream; charset=utf-8", &[STREAM.as_bytes()]);
    assert_eq!((body.as_str(), failed.is_none(), out.is_complete()), (STREAM, true, true));
    let want =
        Usage { input_tokens: 36, cached_input_tokens: 12, output_tokens: 87, reasoning_tokens: 64, ..Usage::NONE };
    assert_eq!(out.usage(), Some(want));
    assert_eq!(out.delivered().output_tokens, 3, "two deltas, of twelve bytes");
}

#[test]
fn the_last_event_is_known_however_its_lines_end() {
    for event in [
        "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{}}\n\n",
        "event: response.completed\r\ndata: {\"type\": \"response.completed\",\"response\":{}}\r\n\r\n",
        "event: response.completed\rdata: {\"type\" : \"response.completed\",\"response\":{}}\r\r",
        "event: response.completed\rdata: {\"type\":\ndata: \"response.completed\",\"response\":{}}\n\n",
    ] {
        let (body, out, failed) = decode("text/event-stream", &[event.as_bytes()]);
        assert_eq!((body.as_str(), failed.is_none(), out.is_complete()), (event, true, true), "{event:?}");
    }
}

#[test]
fn a_stream_cut_before_its_last_event_is_not_complete() {
    let cut = &STREAM[..STREAM.rfind("event: ").unwrap()];
    let (body, out, failed) = decode("text/event-stream", &[cut.as_bytes()]);
    assert_eq!((body.as_str(), failed.is_none(), out.is_complete(), out.usage()), (cut, true, false, None));
}

#[test]
fn a_failure_in_a_stream_ends_it_with_our_event() {
    let start = &STREAM[..STREAM.find("event: response.output_item.added").unwrap()];
    for (event, want) in [
        (
            "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"m\"},\"usage\":null}}\n\n",
            Code::ProviderError,
        ),
        (
            "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"m\"}}}\n\n",
            Code::ProviderRateLimited,
        ),
        (
            "event: error\ndata: {\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"m\",\"param\":null}\n\n",
            Code::ProviderRateLimited,
        ),
        ("data: {\"type\":\"error\",\"code\":\"bio_policy\",\"message\":\"m\"}\n\n", Code::ContentPolicyViolation),
        ("data: {\"type\":\"response.failed\",\"response\":{\"error\":null}}\n\n", Code::ProviderError),
    ] {
        let (body, out, failed) = decode("text/event-stream", &[start.as_bytes(), event.as_bytes()]);
        assert_eq!((body.as_str(), failed.map(|error| error.code())), (start, Some(want)), "{event}");
        assert_eq!((out.is_complete(), out.delivered()), (false, Usage::NONE), "nothing was delivered: {event}");
    }
}

#[test]
fn words_inside_a_text_end_nothing() {
    let event = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"\\\"response.failed\\\" \\\"error\\\":1\"}\n\n";
    let (body, out, failed) = decode("text/event-stream", &[event.as_bytes()]);
    assert_eq!((body.as_str(), failed.is_none(), out.is_complete()), (event, true, false));
}

#[test]
fn a_failed_response_in_a_success_gets_its_real_status() {
    let text = r#"{"id":"resp_1","status":"failed","error":{"code":"rate_limit_exceeded","message":"m"},"usage":null}"#;
    let (body, _, failed) = decode("application/json", &[text.as_bytes()]);
    assert_eq!((body.as_str(), failed.map(|error| error.code())), ("", Some(Code::ProviderRateLimited)));
}

#[test]
fn recorded_responses_come_back_as_they_were_with_the_usage_that_they_tell() {
    let mut exchanges = recorded_of("openai", &["responses"]);
    exchanges.extend(recorded_of("azure", &["responses"]));
    exchanges.extend(recorded_of("openrouter", &["responses"]));
    for exchange in exchanges.iter().filter(|e| e["endpoint"].as_str().is_some_and(|e| e.ends_with("/responses"))) {
        let (id, text) = (&exchange["id"], exchange["response"]["body"]["text"].as_str().unwrap());
        let stream = exchange["stream"] == true;
        let kind = if stream { "text/event-stream" } else { "application/json" };
        let (body, out, failed) = decode(kind, &[text.as_bytes()]);
        let fails = text.contains("\"type\":\"error\"") || text.contains("\"type\":\"response.failed\"");
        assert_eq!(failed.is_some(), fails, "{id}: {failed:?}");
        if fails {
            assert!(text.starts_with(&body) && body.contains("response.created"), "{id}");
            continue;
        }
        assert!(body == text, "{id} was changed");
        // One was written down by a client in events of its own, none of which ends an answer.
        let ends = !stream || text.contains("response.completed\"") || text.contains("response.incomplete\"");
        assert_eq!(out.is_complete(), ends, "{id}");
        if !ends {
            continue;
        }
        let data = |line: &str| serde_json::from_str::<Value>(line.strip_prefix("data:")?).ok();
        let last = if stream { text.lines().filter_map(data).next_back() } else { serde_json::from_str(text).ok() };
        let last = last.unwrap();
        let told = if stream { &last["response"]["usage"] } else { &last["usage"] };
        let used = out.usage().unwrap_or_else(|| panic!("{id} tells no usage"));
        let want = [&told["input_tokens"], &told["input_tokens_details"]["cached_tokens"], &told["output_tokens"]];
        let found = [used.input_tokens, used.cached_input_tokens, used.output_tokens];
        assert_eq!(found.map(Some), want.map(Value::as_u64), "{id}");
    }
}

proptest! {
    #[test]
    fn the_cut_of_a_stream_does_not_matter(cuts in proptest::collection::vec(0.0f64..1.0, 0..30)) {
        let seen = |pieces: &[&[u8]]| {
            let (body, out, failed) = decode("text/event-stream", pieces);
            (body, out.usage(), out.delivered(), out.is_complete(), failed.is_some())
        };
        prop_assert_eq!(seen(&cut(STREAM.as_bytes(), &cuts)), seen(&[STREAM.as_bytes()]));
    }
}
