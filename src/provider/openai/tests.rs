//! The codec against hand-made answers and, where they are at hand, recorded ones.

mod responses;
mod voice;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::domain::modality::Modality;
use crate::domain::model::ModelTerms;
use crate::domain::usage::Usage;
use crate::http::body::Segments;
use crate::provider::traits::Credential;
use crate::wire::dropped::Dropped;
use crate::wire::peek::peek;

use super::*;

fn target(dialect: Dialect, upstream: &str) -> Target {
    let mut terms = ModelTerms::new("alias", Modality::Text);
    terms.max_output_tokens = Some(32_768);
    Target {
        provider: "p".into(),
        codec: Arc::new(OpenAi::new(dialect)),
        base_url: "http://vendor.test/v1/".parse().unwrap(),
        credential: Arc::new(Credential::ApiKey("upstream-secret".into())),
        upstream: upstream.into(),
        terms: Arc::new(terms),
        timeouts: crate::provider::traits::Timeouts::default(),
        content_hosts: Arc::new([]),
    }
}

fn call(body: &str) -> Call {
    // Cut in three, so that no test rests on a body in one piece.
    let bytes = Bytes::copy_from_slice(body.as_bytes());
    let third = bytes.len() / 3;
    let pieces = vec![bytes.slice(..third), bytes.slice(third..2 * third), bytes.slice(2 * third..)];
    let facts = peek(&pieces).expect(body);
    Call::new(Endpoint::ChatCompletions, facts, Segments::new(pieces), None)
}

fn sent(dialect: Dialect, upstream: &str, call: &Call) -> (String, Dropped) {
    let exchange = OpenAi::new(dialect).encode(call, &target(dialect, upstream)).unwrap();
    let body = exchange.request.unwrap().into_body().into_bytes();
    serde_json::from_slice::<serde::de::IgnoredAny>(&body).expect("the spliced body is JSON");
    (String::from_utf8(body.to_vec()).unwrap(), exchange.dropped)
}

#[test]
fn the_request_goes_to_the_targets_url_with_its_credential_and_none_of_the_callers_headers() {
    let target = target(Dialect::OpenAi, "gpt-4o");
    let request = OpenAi::new(Dialect::OpenAi).encode(&call(r#"{"model":"alias"}"#), &target).unwrap().request.unwrap();
    assert_eq!(request.uri(), "http://vendor.test/v1/chat/completions");
    assert_eq!(request.headers()["authorization"], "Bearer upstream-secret");
    assert!(request.headers()["authorization"].is_sensitive());
    assert_eq!(request.headers().len(), 3);
}

#[test]
fn a_body_without_a_quirk_goes_on_byte_for_byte() {
    let body = "{ \"x\": 1.50, \"model\" : \"alias\",\n\"messages\":[{\"role\":\"developer\",\"content\":\"é\\u00e9\"}],\"user\":\"u\" }";
    let (sent, dropped) = sent(Dialect::OpenAi, "up/\"quoted\"", &call(body));
    assert_eq!(sent, body.replace("\"alias\"", "\"up/\\\"quoted\\\"\""));
    assert!(dropped.is_empty());
}

#[test]
fn a_stream_always_asks_for_usage() {
    for (before, after) in [
        (r#"{"model":"m","stream":true}"#, r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#),
        (
            r#"{"model":"m","stream":true,"stream_options":null}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"model":"m","stream":true,"stream_options":{ }}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true }}"#,
        ),
        (
            r#"{"model":"m","stream":true,"stream_options":{"x":1}}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true,"x":1}}"#,
        ),
        (
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":false}}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":null}}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (r#"{"model":"m","stream":false}"#, r#"{"model":"m","stream":false}"#),
    ] {
        assert_eq!(sent(Dialect::OpenAi, "m", &call(before)).0, after);
    }
}

#[test]
fn the_bound_of_the_hold_is_sent_under_the_name_that_the_vendor_knows() {
    use Dialect::{Ark, Compatible, DashScope, Moonshot, OpenAi};
    for (dialect, before, after) in [
        (OpenAi, r#"{"model":"m"}"#, r#"{"max_completion_tokens":7,"model":"m"}"#),
        (OpenAi, r#"{"model":"m","max_tokens":99}"#, r#"{"model":"m","max_tokens":7}"#),
        (OpenAi, r#"{"model":"m","max_completion_tokens":null}"#, r#"{"model":"m","max_completion_tokens":7}"#),
        (Compatible, r#"{"model":"m"}"#, r#"{"max_tokens":7,"model":"m"}"#),
        (Ark, r#"{"model":"m"}"#, r#"{"max_completion_tokens":7,"model":"m"}"#),
        (DashScope, r#"{"model":"m","max_completion_tokens":99}"#, r#"{"model":"m","max_tokens":7}"#),
        (Moonshot, r#"{"model":"m","max_completion_tokens":99,"max_tokens":null}"#, r#"{"model":"m","max_tokens":7}"#),
        (Moonshot, r#"{"model":"m","max_tokens":9,"max_completion_tokens":99}"#, r#"{"model":"m","max_tokens":7}"#),
    ] {
        assert_eq!(sent(dialect, "m", &call(before).bound_output(7)).0, after, "{dialect:?} {before}");
    }
}

#[test]
fn qwen_and_kimi_read_max_tokens_whatever_the_caller_wrote() {
    let body = r#"{"model":"m","max_compl\u0065tion_tokens" : 5}"#;
    assert_eq!(sent(Dialect::DashScope, "m", &call(body)).0, r#"{"model":"m","max_tokens" : 5}"#);
    let body = r#"{"model":"m","max_completion_tokens":5}"#;
    assert_eq!(sent(Dialect::Ark, "m", &call(body)).0, body);
}

#[test]
fn kimi_is_sent_the_models_ceiling_when_nobody_set_a_bound() {
    assert_eq!(
        sent(Dialect::Moonshot, "kimi-k2.6", &call(r#"{"model":"m"}"#)).0,
        r#"{"max_tokens":32768,"model":"kimi-k2.6"}"#
    );
}

#[test]
fn the_developer_role_becomes_system_where_it_is_unknown() {
    let body = r#"{"messages":[{"role": "developer","content":[{"role":"developer"}]},{"content":"developer","role":"user"}],"tools":[{"role":"developer"}],"model":"m"}"#;
    for dialect in [Dialect::DashScope, Dialect::Ark] {
        assert_eq!(sent(dialect, "m", &call(body)).0, body.replacen("\"developer\"", "\"system\"", 1));
    }
    assert_eq!(sent(Dialect::Compatible, "m", &call(body)).0, body);
}

#[test]
fn fields_that_a_vendor_lacks_are_left_out_and_named_and_unknown_ones_go_on() {
    let body =
        r#"{"user":"u","store":true,"model":"m","x":{"user":1},"metadata":{"a":"}"},"seed":1,"service_tier":"auto"}"#;
    let (text, dropped) = sent(Dialect::DashScope, "m", &call(body));
    assert_eq!(text, r#"{"model":"m","x":{"user":1},"seed":1}"#);
    assert_eq!(dropped, ["store", "metadata", "user", "service_tier"]);
    let (text, _) = sent(Dialect::Ark, "m", &call(body));
    assert_eq!(text, r#"{"model":"m","x":{"user":1},"service_tier":"auto"}"#);
    assert_eq!(sent(Dialect::Compatible, "m", &call(body)), (body.to_owned(), Dropped::default()));
}

#[test]
fn numbers_out_of_a_vendors_range_are_mended() {
    let body = |temperature: &str, top_p: &str| {
        format!(r#"{{"model":"m","temperature":{temperature},"top_p":{top_p},"max_tokens":1}}"#)
    };
    assert_eq!(sent(Dialect::DashScope, "m", &call(&body("2", "0"))).0, body("1.99", "0.001"));
    assert_eq!(sent(Dialect::DashScope, "m", &call(&body("0.2", "1"))).0, body("0.2", "1"));
    assert_eq!(sent(Dialect::Moonshot, "m", &call(&body("1.5", "null"))).0, body("1", "null"));
    assert_eq!(sent(Dialect::OpenAi, "m", &call(&body("2", "0"))).0, body("2", "0"));
}

#[test]
fn the_products_chat_example_suits_every_known_model() {
    let body = r#"{"model":"m","temperature":0.2,"max_tokens":9,"messages":[{"role":"system","content":"s"},{"role":"user","content":"u"}]}"#;
    for (dialect, upstream) in
        [(Dialect::OpenAi, "m"), (Dialect::DashScope, "m"), (Dialect::Ark, "m"), (Dialect::Moonshot, "m")]
    {
        assert_eq!(sent(dialect, upstream, &call(body)).0, body);
    }
    let (text, dropped) = sent(Dialect::Moonshot, "kimi-k2.6", &call(body));
    assert!(!text.contains("temperature"), "{text}");
    assert_eq!(dropped, ["temperature"]);
    assert!(sent(Dialect::Moonshot, "kimi-k2-0905-preview", &call(body)).0.contains("temperature"));
}

#[test]
fn an_open_qwen3_is_told_not_to_think_where_no_stream_is_asked_for() {
    let plain = r#"{"model":"m","enable_thinking":false}"#;
    let thinking = r#"{"model":"m","enable_thinking":true}"#;
    for upstream in ["qwen3-8b", "qwen3-235b-a22b"] {
        let with = |body: &str| body.replace("\"m\"", &format!("\"{upstream}\""));
        let (text, dropped) = sent(Dialect::DashScope, upstream, &call(WHOLE));
        assert_eq!(text, format!(r#"{{"enable_thinking":false,"model":"{upstream}"}}"#));
        assert!(dropped.is_empty());
        let (text, dropped) = sent(Dialect::DashScope, upstream, &call(thinking));
        assert_eq!(text, with(plain));
        assert_eq!(dropped, ["enable_thinking"]);
        assert_eq!(sent(Dialect::DashScope, upstream, &call(plain)).0, with(plain));
        assert!(!sent(Dialect::DashScope, upstream, &call(STREAMED)).0.contains("enable_thinking"));
    }
    for upstream in ["qwen3-max", "qwen-plus", "qwen3-30b-a3b-instruct-2507", "qwen3-235b-a22b-thinking-2507"] {
        assert!(!sent(Dialect::DashScope, upstream, &call(WHOLE)).0.contains("enable_thinking"), "{upstream}");
    }
    assert!(!sent(Dialect::Compatible, "qwen3-8b", &call(WHOLE)).0.contains("enable_thinking"));
}

#[test]
fn a_content_that_is_a_list_of_texts_is_one_text_where_no_lists_are_read() {
    let list = r#"[{"type":"text","text":"a\"é"},{"text":"b","type":"text"}]"#;
    let picture = r#"[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"u"}}]"#;
    let cached = r#"[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]"#;
    let body = |model: &str, first: &str| {
        let others = [picture, cached, "[]", "null", "\"s\""].map(|c| format!(r#"{{"role":"user","content":{c}}}"#));
        format!(r#"{{"model":"{model}","messages":[ {{"role":"user","content": {first}}},{}]}}"#, others.join(","))
    };
    for (dialect, model, is_mended) in [
        (Dialect::DashScope, "qwen-max", true),
        (Dialect::DashScope, "qwen-vl-max", false),
        (Dialect::Moonshot, "moonshot-v1-8k", true),
        (Dialect::Moonshot, "moonshot-v1-8k-vision-preview", false),
        (Dialect::Ark, "m", false),
        (Dialect::Compatible, "qwen-max", false),
    ] {
        let text = sent(dialect, model, &call(&body("m", list)).bound_output(7)).0;
        let mended = body(model, if is_mended { r#""a\"é\nb""# } else { list });
        assert!(text.ends_with(&mended[mended.find("\"messages\"").unwrap()..]), "{model}: {text}");
    }
}

#[test]
fn kimis_tool_calls_go_back_with_a_blank_for_the_thoughts_that_nobody_kept() {
    let body = |first: &str| {
        let call = r#""role":"assistant","tool_calls":[{"id":"c"}]"#;
        format!(
            r#"{{"max_tokens":9,"messages":[{{{first}{call}}},{{"reasoning_content":"t",{call}}},{{"role":"user"}}],"model":"m"}}"#
        )
    };
    let (plain, blank) = (body(""), body("\"reasoning_content\":\" \","));
    for (model, after) in [("kimi-k2.6", &blank), ("kimi-k2-thinking", &blank), ("kimi-k2-0905-preview", &plain)] {
        assert_eq!(sent(Dialect::Moonshot, model, &call(&plain)).0, after.replace("\"m\"", &format!("\"{model}\"")));
    }
    let quiet = plain.replacen('{', r#"{"thinking":{"type":"disabled"},"#, 1);
    assert_eq!(sent(Dialect::Moonshot, "kimi-k2.6", &call(&quiet)).0, quiet.replace("\"m\"", "\"kimi-k2.6\""));
}

#[test]
fn kimi_is_not_told_the_dialect_of_a_schema() {
    let body = r#"{"max_tokens":9,"response_format":{"type":"json_schema","json_schema":{"schema":{"$schema":"s","type":"object","$id":1}}},"model":"m"}"#;
    let text = sent(Dialect::Moonshot, "kimi-k2.5", &call(body)).0;
    assert_eq!(text, body.replace(r#""$schema":"s","#, "").replace("\"m\"", "\"kimi-k2.5\""));
}

#[test]
fn the_texts_of_an_answer_count_where_nobody_tells_its_usage() {
    let answer = r#"{"id":"a long one that is no text of the answer","choices":[{"message":{"role":"assistant","content":"hi there"}}]}"#;
    for cut in [1, 20, answer.len()] {
        let (first, rest) = answer.as_bytes().split_at(cut);
        let whole = decode(Dialect::Compatible, WHOLE, Some("application/json"), &[first, rest]);
        assert_eq!((whole.usage, whole.delivered.output_tokens, whole.complete), (None, 2, true));
    }
}

#[test]
fn sound_goes_to_those_of_qwens_models_that_have_it() {
    let body = r#"{"model":"m","modalities":["text"],"functions":[]}"#;
    assert_eq!(sent(Dialect::DashScope, "qwen-max", &call(body)).1, ["modalities"]);
    assert!(sent(Dialect::DashScope, "qwen-omni-turbo", &call(body)).1.is_empty());
    assert_eq!(sent(Dialect::Moonshot, "moonshot-v1-8k", &call(body)).1, ["modalities", "functions"]);
}

#[test]
fn an_error_that_stands_bare_in_a_success_is_one() {
    let inspected = r#"{"code":"DataInspectionFailed","message":"x","request_id":"r"}"#;
    for (error, code) in [
        (inspected, Code::ContentPolicyViolation),
        (r#"{"code":"Arrearage","message":"Access denied."}"#, Code::ProviderQuotaExhausted),
        (r#"{"message":"busy"}"#, Code::ProviderError),
        (r#"{"detail":"Not found"}"#, Code::ProviderError),
        (r#"{"object":"error","message":"m","code":40303}"#, Code::ProviderError),
    ] {
        let whole = decode(Dialect::DashScope, WHOLE, Some("application/json"), &[error.as_bytes()]);
        assert_eq!((whole.failed, &*whole.body), (Some(code), ""), "{error}");
        let seen = streamed(Dialect::DashScope, STREAMED, &format!("data: {error}\n\n"));
        assert_eq!((seen.failed, &*seen.body), (Some(code), ""), "{error}");
    }
    let answer = r#"{"code":"","message":"ok","choices":[{"message":{"content":"hi"}}]}"#;
    let whole = decode(Dialect::DashScope, WHOLE, Some("application/json"), &[answer.as_bytes()]);
    assert_eq!((whole.failed, &*whole.body), (None, answer));
    let chunk = "data: {\"code\":7,\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    assert_eq!(streamed(Dialect::DashScope, STREAMED, chunk).failed, None);
}

#[test]
fn embeddings_go_on_with_the_model_alone_replaced() {
    let body = r#"{"model":"alias","input":["a"],"encoding_format":"base64","user":"u"}"#;
    let bytes = Bytes::from_static(body.as_bytes());
    let facts = peek(std::slice::from_ref(&bytes)).unwrap();
    let call = Call::new(Endpoint::Embeddings, facts, bytes.into(), None);
    let request = OpenAi::new(Dialect::Ark).encode(&call, &target(Dialect::Ark, "up")).unwrap().request.unwrap();
    assert_eq!(request.uri().path(), "/v1/embeddings");
    assert_eq!(request.into_body().into_bytes(), body.replace("alias", "up"));
    let refused = OpenAi::new(Dialect::Moonshot).encode(&call, &target(Dialect::Moonshot, "up")).unwrap_err();
    assert_eq!(refused.code(), Code::ProviderModelUnavailable);
}

/// What an answer comes to.
#[derive(Debug, PartialEq)]
struct Seen {
    body: String,
    usage: Option<Usage>,
    delivered: Usage,
    complete: bool,
    failed: Option<Code>,
}

fn decode(dialect: Dialect, request: &str, content_type: Option<&str>, pieces: &[&[u8]]) -> Seen {
    let exchange = OpenAi::new(dialect).encode(&call(request), &target(dialect, "m")).unwrap();
    let (body, out, failed) = read(exchange, content_type, pieces);
    Seen {
        body: String::from_utf8(body).unwrap(),
        usage: out.usage(),
        delivered: out.delivered(),
        complete: out.is_complete(),
        failed: failed.map(|error| error.code()),
    }
}

/// What goes out, what it means, and what it failed with.
fn read(exchange: Exchange, content_type: Option<&str>, pieces: &[&[u8]]) -> (Vec<u8>, Output, Option<Error>) {
    let mut decoder = exchange.decoder;
    let mut response = http::Response::new(());
    if let Some(value) = content_type {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
    }
    let mut out = Output::default();
    let run = || {
        decoder.head(&response.into_parts().0)?;
        pieces.iter().try_for_each(|piece| decoder.push(Bytes::copy_from_slice(piece), &mut out))?;
        decoder.finish(&mut out)
    };
    let failed = run().err();
    let body = std::iter::from_fn(|| out.next_frame()).flatten().collect();
    (body, out, failed)
}

const STREAMED: &str = r#"{"model":"m","stream":true}"#;
const STREAMED_WITH_USAGE: &str = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;
const WHOLE: &str = r#"{"model":"m"}"#;

fn tokens(input: u64, cached: u64, output: u64) -> Option<Usage> {
    Some(Usage { input_tokens: input, cached_input_tokens: cached, output_tokens: output, ..Usage::NONE })
}

fn streamed(dialect: Dialect, request: &str, text: &str) -> Seen {
    decode(dialect, request, Some("text/event-stream"), &[text.as_bytes()])
}

const CHAT: &str = include_str!("../../../tests/fixtures/openai/chat.sse");
const KIMI: &str = include_str!("../../../tests/fixtures/openai/kimi.sse");
const BROKEN: &str = include_str!("../../../tests/fixtures/openai/broken.sse");
const LINES: &str = include_str!("../../../tests/fixtures/openai/lines.sse");

#[test]
fn a_stream_comes_back_byte_for_byte_and_its_usage_is_read_on_the_side() {
    let seen = streamed(Dialect::OpenAi, STREAMED_WITH_USAGE, CHAT);
    assert_eq!(seen.body, CHAT);
    assert_eq!((seen.usage, seen.complete, seen.failed), (tokens(21, 4, 9), true, None));
    assert_eq!(seen.delivered.output_tokens, 10, "four chunks of some forty bytes");
}

#[test]
fn the_usage_chunk_is_hidden_from_a_caller_who_did_not_ask() {
    let seen = streamed(Dialect::OpenAi, STREAMED, CHAT);
    let events: Vec<_> = CHAT.split_inclusive("\n\n").filter(|event| !event.contains("\"choices\":[]")).collect();
    assert_eq!(seen.body, events.concat());
    assert_eq!((seen.usage, seen.complete), (tokens(21, 4, 9), true));
}

#[test]
fn kimis_usage_inside_the_choice_is_read_and_the_finish_chunk_stays() {
    let seen = streamed(Dialect::Moonshot, STREAMED, KIMI);
    assert_eq!((seen.body.as_str(), seen.usage, seen.complete), (KIMI, tokens(10, 3, 79), true));
}

#[test]
fn cumulative_usage_counts_once_the_last_wins() {
    let text = concat!(
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\n\n",
    );
    let seen = streamed(Dialect::Compatible, STREAMED, text);
    assert_eq!((seen.body.as_str(), seen.usage, seen.complete), (text, tokens(5, 0, 2), true));
}

#[test]
fn an_error_event_ends_the_stream_and_what_came_before_it_goes_out() {
    let seen = streamed(Dialect::Compatible, STREAMED, BROKEN);
    assert_eq!(seen.body, BROKEN.split_inclusive("\n\n").take(2).collect::<String>());
    assert_eq!((seen.failed, seen.complete), (Some(Code::ProviderOverloaded), false));
    for text in [
        "event: error\ndata: {\"message\":\"m\"}\n\n",
        "data: {\"error\":\"text\"}\n\n",
        "data: {\"error\":{\"message\":\"m\"}}",
        "data: {\"choices\":[],\"error\" : {\"message\":\"m\"}}\r\n\r\n",
    ] {
        assert_eq!(streamed(Dialect::OpenAi, STREAMED, text).failed, Some(Code::ProviderError), "{text}");
    }
    let harmless = "data: {\"choices\":[{\"delta\":{\"content\":\"error\"}}],\"error\":null}\n\ndata: [DONE]\n\n";
    assert_eq!(streamed(Dialect::OpenAi, STREAMED, harmless).failed, None);
}

#[test]
fn a_stream_without_a_finish_is_not_complete_and_its_broken_tail_is_left_out() {
    let cut = &CHAT[..CHAT.find(" there").unwrap()];
    let seen = streamed(Dialect::OpenAi, STREAMED, cut);
    assert_eq!(seen.body, cut[..cut.rfind("data:").unwrap()]);
    assert!(!seen.complete && seen.failed.is_none() && seen.delivered.output_tokens > 0);
}

#[test]
fn a_finish_without_done_is_complete_and_nothing_is_added() {
    let text = &CHAT[..CHAT.find("data: [DONE]").unwrap()];
    let seen = streamed(Dialect::OpenAi, STREAMED_WITH_USAGE, text);
    assert_eq!((seen.body.as_str(), seen.complete), (text, true));
}

#[test]
fn lines_that_trip_clients_are_left_out_and_every_line_end_passes() {
    let seen = streamed(Dialect::OpenAi, STREAMED, LINES);
    assert_eq!(seen.body, LINES.replace("id: 1\n", "").replace("retry: 10\n", ""));
    assert!(seen.complete);
}

#[test]
fn pieces_go_on_as_slices_of_themselves() {
    let mut stream = Stream::new(Chunks::new(Dialect::OpenAi, true));
    let piece = Bytes::from_static(CHAT.as_bytes());
    let mut out = Output::default();
    stream.push(piece.clone(), &mut out).unwrap();
    assert_eq!(out.next_frame().map(|frame| (frame.as_ptr(), frame.len())), Some((piece.as_ptr(), piece.len())));
    assert!(!out.has_frames());
}

#[test]
fn a_whole_answer_comes_back_byte_for_byte_with_its_usage() {
    let text = "{ \"choices\":[{\"message\":{\"content\":\"a }\\\" b\"}}],\n\"usage\" : {\"prompt_tokens\":9,\"completion_tokens\":3} }\n";
    let seen = decode(Dialect::OpenAi, WHOLE, Some("application/json"), &[text.as_bytes()]);
    assert_eq!((seen.body.as_str(), seen.usage, seen.complete, seen.failed), (text, tokens(9, 0, 3), true, None));
    let kimi = r#"{"choices":[{"usage":{"prompt_tokens":9,"completion_tokens":3}}]}"#;
    assert_eq!(decode(Dialect::Moonshot, WHOLE, None, &[kimi.as_bytes()]).usage, tokens(9, 0, 3));
}

#[test]
fn an_answer_that_is_whole_does_not_wait_for_the_vendor_to_end_it() {
    let text = r#"{"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":9,"completion_tokens":3}}"#;
    let mut decoder = OpenAi::new(Dialect::OpenAi).encode(&call(WHOLE), &target(Dialect::OpenAi, "m")).unwrap().decoder;
    let mut out = Output::default();
    decoder.head(&http::Response::new(()).into_parts().0).unwrap();
    decoder.push(Bytes::from(text), &mut out).unwrap();
    assert_eq!((out.next_frame(), out.usage(), out.is_complete()), (Some(text.into()), tokens(9, 0, 3), true));
    decoder.push(Bytes::from("\n"), &mut out).unwrap();
    decoder.finish(&mut out).unwrap();
    assert_eq!((out.next_frame(), out.usage()), (Some("\n".into()), tokens(9, 0, 3)));
}

#[test]
fn an_error_inside_a_success_fails_before_anything_goes_out() {
    for (text, code) in [
        (r#"{"error":{"message":"m","code":502}}"#, Code::ProviderError),
        (r#"{"id":"x","error":{"message":"m","code":"content_filter","status":400}}"#, Code::ContentPolicyViolation),
        (
            r#"{"choices":null,"base_resp":{"status_code":2049,"status_msg":"invalid api key"}}"#,
            Code::ProviderAuthError,
        ),
        (r#"[]"#, Code::ProviderError),
        (r#"{"choices":[{"#, Code::ProviderError),
        ("", Code::ProviderError),
    ] {
        let seen = decode(Dialect::Compatible, WHOLE, None, &[text.as_bytes()]);
        assert_eq!((seen.failed, seen.body.as_str()), (Some(code), ""), "{text}");
    }
    for text in [r#"{"error":null,"choices":[]}"#, r#"{"choices":[],"base_resp":{"status_code":0}}"#] {
        let seen = decode(Dialect::Compatible, WHOLE, None, &[text.as_bytes()]);
        assert_eq!((seen.failed, seen.body.as_str()), (None, text));
    }
}

#[test]
fn the_vendors_content_type_decides_and_what_was_asked_where_it_says_nothing() {
    let head = |request: &str, content_type: &str| {
        let mut decoder =
            OpenAi::new(Dialect::OpenAi).encode(&call(request), &target(Dialect::OpenAi, "m")).unwrap().decoder;
        let response = http::Response::builder()
            .header("content-type", content_type)
            .header("set-cookie", "a=b")
            .body(())
            .unwrap();
        decoder.head(&response.into_parts().0)
    };
    let events = head(WHOLE, "text/event-stream;charset=UTF-8").unwrap();
    assert_eq!(events["content-type"], "text/event-stream;charset=UTF-8");
    assert_eq!(events.len(), 1);
    assert_eq!(head(STREAMED, "application/octet-stream").unwrap()["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(head(STREAMED, "application/json").unwrap().len(), 1);
    assert_eq!(head(WHOLE, "text/html").unwrap_err().code(), Code::ProviderError);
}

/// A recorded answer.
struct Recorded {
    id: String,
    dialect: Dialect,
    stream: bool,
    status: u16,
    body: Vec<u8>,
}

fn recorded() -> Option<PathBuf> {
    let near = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    near.map(|folder| folder.join("shared/conformance/recordings")).find(|folder| folder.is_dir())
}

/// The recorded exchanges of a vendor whose kind is one of these.
fn recorded_of(vendor: &str, kinds: &[&str]) -> Vec<Value> {
    let files = recorded().into_iter().flat_map(|folder| std::fs::read_dir(folder.join(vendor)).unwrap());
    let read = |file: std::io::Result<std::fs::DirEntry>| -> Value {
        serde_json::from_str(&std::fs::read_to_string(file.unwrap().path()).unwrap()).unwrap()
    };
    files.map(read).filter(|exchange| kinds.iter().any(|kind| exchange["kind"] == *kind)).collect()
}

/// The recorded answers of the routes served here; none where the recordings are not at hand.
fn recordings() -> Vec<Recorded> {
    let Some(folder) = recorded() else { return Vec::new() };
    let mut found = Vec::new();
    for (vendor, dialect) in [
        ("openai", Dialect::OpenAi),
        ("qwen", Dialect::DashScope),
        ("kimi", Dialect::Moonshot),
        ("deepseek", Dialect::Compatible),
        ("groq", Dialect::Compatible),
        ("mistral", Dialect::Compatible),
        ("xai", Dialect::Compatible),
        ("openrouter", Dialect::Compatible),
        ("zai", Dialect::Compatible),
        ("azure", Dialect::Compatible),
    ] {
        for file in std::fs::read_dir(folder.join(vendor)).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let recording: Value = serde_json::from_str(&text).unwrap();
            let endpoint = recording["endpoint"].as_str().unwrap_or_default();
            let body = recording["response"]["body"]["text"].as_str();
            let served = endpoint.ends_with("chat/completions") || endpoint.ends_with("/embeddings");
            let status = recording["response"]["status"].as_u64().and_then(|status| u16::try_from(status).ok());
            if let (true, Some(status), Some(body)) = (served, status, body) {
                let stream = recording["stream"].as_bool().unwrap_or_default();
                let id = recording["id"].to_string();
                found.push(Recorded { id, dialect, stream, status, body: body.as_bytes().to_vec() });
            }
        }
    }
    found
}

/// The usage that a recorded answer means, found by parsing all of it.
fn meant(stream: bool, body: &[u8]) -> Option<(u64, u64)> {
    let text = String::from_utf8_lossy(body);
    let data: Vec<&str> =
        if stream { text.lines().filter_map(|line| line.strip_prefix("data:")).collect() } else { vec![&text] };
    let values = data.iter().filter_map(|data| serde_json::from_str::<Value>(data).ok());
    let mut usages = values.filter_map(|value| {
        let nested =
            value["choices"].as_array().into_iter().flatten().map(|choice| &choice["usage"]).find(|u| u.is_object());
        [&value["usage"]].into_iter().find(|u| u.is_object()).or(nested).cloned()
    });
    usages.next_back().map(|u| (u["prompt_tokens"].as_u64().unwrap_or(0), u["completion_tokens"].as_u64().unwrap_or(0)))
}

#[test]
fn recorded_answers_come_back_as_they_were_with_the_usage_that_they_tell() {
    for Recorded { id, dialect, stream, body, .. } in recordings().into_iter().filter(|r| r.status == 200) {
        let seen = decode(dialect, if stream { STREAMED_WITH_USAGE } else { WHOLE }, None, &[&body]);
        if seen.failed.is_some() {
            assert!(id.contains("error"), "{id} failed with {seen:?}");
            continue;
        }
        assert!(seen.body.as_bytes() == body, "{id} was changed");
        assert!(seen.complete || stream, "{id} is not complete");
        let apart = |u: Usage| (u.input_tokens, u.output_tokens);
        let xai_apart = seen
            .usage
            .is_some_and(|u| meant(stream, &body) == Some((u.input_tokens, u.output_tokens - u.reasoning_tokens)));
        assert!(seen.usage.map(apart) == meant(stream, &body) || xai_apart, "{id}: {:?}", seen.usage);
    }
}

#[test]
fn recorded_errors_have_the_class_of_their_status_unless_the_operator_is_at_fault() {
    for Recorded { id, dialect, status, body, .. } in recordings().into_iter().filter(|r| r.status >= 400) {
        let text = String::from_utf8_lossy(&body);
        let operators = ["insufficient_quota", "exceeded_current_quota", "engine_overloaded"]
            .iter()
            .any(|word| text.contains(word));
        let want = match status {
            429 if !operators => 429,
            400 | 404 | 413 | 415 | 422 => 400,
            _ => 500,
        };
        let error = OpenAi::new(dialect).fault(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), &body);
        assert_eq!(error.code().status().as_u16(), want, "{id}: {error}");
        assert_eq!(error.origin(), crate::Origin::Provider);
        assert!(!error.message().is_empty() && !error.message().contains("REDACTED>"), "{id}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_cut_of_a_recorded_answer_does_not_matter(cuts in proptest::collection::vec(0.0f64..1.0, 0..9), asked in any::<bool>()) {
        let answers = recordings().into_iter().filter(|r| r.status == 200 && r.body.len() < 9_000);
        for Recorded { id, dialect, stream, body, .. } in answers {
            let request = match (stream, asked) {
                (true, true) => STREAMED_WITH_USAGE,
                (true, false) => STREAMED,
                (false, _) => WHOLE,
            };
            let whole = decode(dialect, request, None, &[&body]);
            let got = decode(dialect, request, None, &cut(&body, &cuts));
            prop_assert!(whole == got, "{}: {:?} for {:?}", id, got, whole);
        }
    }

    #[test]
    fn the_cut_of_a_hand_made_answer_does_not_matter(cuts in proptest::collection::vec(0.0f64..1.0, 0..30)) {
        for text in [CHAT, KIMI, BROKEN, LINES] {
            let got = decode(Dialect::Moonshot, STREAMED, None, &cut(text.as_bytes(), &cuts));
            prop_assert_eq!(got, streamed(Dialect::Moonshot, STREAMED, text));
        }
        let long = json!({"id": "x".repeat(3_000), "error": {"message": "y".repeat(2_000)}}).to_string();
        for text in [&long, r#"{"choices":[{"usage":{"prompt_tokens":9}}],"usage":{"prompt_tokens":9,"n":-1.5},"t":1}"#] {
            let got = decode(Dialect::Moonshot, WHOLE, None, &cut(text.as_bytes(), &cuts));
            prop_assert_eq!(got, decode(Dialect::Moonshot, WHOLE, None, &[text.as_bytes()]));
        }
    }
}

fn cut<'a>(body: &'a [u8], cuts: &[f64]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|share| (share * body.len() as f64) as usize).collect();
    places.extend([0, body.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect()
}
