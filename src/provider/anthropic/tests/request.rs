use serde_json::{Value, json};

use crate::base::error::Code;

use super::*;

const OLD: &str = "claude-3-opus-20240229";
const BUDGET: &str = "claude-3-7-sonnet-20250219";
const NEW: &str = "claude-opus-5-5";
const PNG: &str = "data:image/png;base64,iVBORw0KGgo=";

fn weather() -> Value {
    json!({"type": "function", "function": {"name": "get_weather", "description": "d", "parameters":
        {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": false}}})
}

fn called(id: &str, arguments: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}})
}

#[test]
fn same_speakers_are_merged_and_sampling_is_clamped() {
    let messages = json!([{"role": "system", "content": "S"}, user("u1"), user("u2")]);
    let more = json!({"temperature": 1.7, "stop": ["\n", "END"], "user": "a@b.co"});
    let mut body = sent(OLD, messages.clone(), more.clone());
    let user_id = body.as_object_mut().unwrap().remove("metadata").unwrap()["user_id"].as_str().unwrap().to_owned();
    assert!(user_id.len() == 64 && user_id.bytes().all(|b| b.is_ascii_hexdigit()));
    let want = json!({
        "model": OLD, "max_tokens": 4096, "system": [{"type": "text", "text": "S"}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "u1"}, {"type": "text", "text": "u2"}]}],
        "temperature": 1.0, "stop_sequences": ["END"]
    });
    assert_eq!(body, want);
    let (body, dropped) = sent_and_dropped(NEW, messages, more);
    assert_eq!((body.get("temperature"), dropped), (None, vec!["temperature"].into()));
}

#[test]
fn tool_results_come_first_in_the_turn_after_the_calls() {
    let messages = json!([
        user("go"),
        {"role": "assistant", "content": "", "tool_calls": [called("call_1", ""), called("call.2", "\"{\\\"a\\\":1}\"")]},
        user("go on"),
        {"role": "tool", "tool_call_id": "call.2", "content": [{"type": "text", "text": "43"}, {"type": "image_url", "image_url": {"url": PNG}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "42"},
    ]);
    let body = sent(OLD, messages, json!({}));
    let image =
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}});
    let want = json!([
        {"role": "user", "content": [{"type": "text", "text": "go"}]},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {}},
            {"type": "tool_use", "id": "call_2", "name": "f", "input": {"a": 1}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "call_2", "content": [{"type": "text", "text": "43"}, image]},
            {"type": "tool_result", "tool_use_id": "call_1", "content": "42"},
            {"type": "text", "text": "go on"}]},
    ]);
    assert_eq!(body["messages"], want);
    // A history with calls needs declarations.
    assert_eq!(body["tools"], json!([{"name": "f", "input_schema": {"type": "object", "properties": {}}}]));
    assert_eq!(body["tool_choice"], json!({"type": "none"}));
}

#[test]
fn later_system_messages_go_to_the_top_and_the_user_begins() {
    let messages = json!([
        {"role": "assistant", "content": "Welcome"}, {"role": "developer", "content": [{"type": "text", "text": "D"}]},
        user(" "), user("hi"), {"role": "system", "content": ""},
    ]);
    let body = sent(OLD, messages, json!({}));
    assert_eq!(body["system"], json!([{"type": "text", "text": "D"}]));
    let roles: Vec<&Value> = body["messages"].as_array().unwrap().iter().map(|turn| &turn["role"]).collect();
    assert_eq!(roles, ["user", "assistant", "user"]);
    assert_eq!(body["messages"][2]["content"], json!([{"type": "text", "text": "hi"}]));
}

#[test]
fn images_and_files_become_blocks() {
    let parts = json!([
        {"type": "text", "text": "see", "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;charset=utf-8;base64,/9j/4AAQ", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0x"}},
        {"type": "file", "file": {"filename": "a.csv", "file_data": "data:text/csv;base64,YSxi"}},
    ]);
    let body = sent(OLD, json!([{"role": "user", "content": parts}]), json!({}));
    let want = json!([
        {"type": "text", "text": "see", "cache_control": {"type": "ephemeral"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "/9j/4AAQ"}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0x"}, "title": "a.pdf"},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a,b"}, "title": "a.csv"},
    ]);
    assert_eq!(body["messages"][0]["content"], want);
}

#[test]
fn bad_input_is_refused_by_its_place() {
    let part = |part: Value| json!([user("x"), {"role": "user", "content": [{"type": "text", "text": "a"}, part]}]);
    let image = |url: &str| part(json!({"type": "image_url", "image_url": {"url": url}}));
    let large = format!("data:image/png;base64,{}", "A".repeat(7 * 1024 * 1024));
    let calls = |call: Value| json!([user("x"), {"role": "assistant", "tool_calls": [call]}, user("y")]);
    let cases = [
        (json!([{"role": "system", "content": "S"}]), "messages"),
        (json!([user(" ")]), "messages"),
        (json!([user("x"), {"role": "tool", "tool_call_id": "a", "content": "1"}]), "messages[1].tool_call_id"),
        (calls(called("a", "{}")), "messages[1].tool_calls"),
        (calls(called("a", "nonsense")), "messages[1].tool_calls[0].function.arguments"),
        (calls(called("a", "[1]")), "messages[1].tool_calls[0].function.arguments"),
        (calls(called("", "{}")), "messages[1].tool_calls[0].id"),
        (image("data:image/png,abc"), "messages[1].content[1].image_url.url"),
        (image("data:image/bmp;base64,Qk0="), "messages[1].content[1].image_url.url"),
        (image("http://example.com/a.png"), "messages[1].content[1].image_url.url"),
        (image(&large), "messages[1].content[1].image_url.url"),
        (
            part(json!({"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}})),
            "messages[1].content[1].input_audio",
        ),
        (part(json!({"type": "file", "file": {"file_id": "file-1"}})), "messages[1].content[1].file.file_id"),
        (
            part(json!({"type": "file", "file": {"file_data": "data:application/zip;base64,UEs="}})),
            "messages[1].content[1].file.file_data",
        ),
    ];
    for (messages, place) in cases {
        let error = refused(OLD, messages, json!({}));
        assert_eq!((error.code().status().as_u16(), error.param_name()), (400, Some(place)), "{error}");
    }
}

#[test]
fn what_would_change_the_answers_shape_is_refused() {
    for (more, place) in [
        (json!({"n": 2}), "n"),
        (json!({"logprobs": true}), "logprobs"),
        (json!({"modalities": ["text", "audio"]}), "modalities"),
        (json!({"web_search_options": {}}), "web_search_options"),
        (json!({"functions": []}), "functions"),
        (json!({"max_tokens": 0}), "max_tokens"),
        (json!({"reasoning_effort": "furious"}), "reasoning_effort"),
        (
            json!({"tools": [weather()], "tool_choice": {"type": "function", "function": {"name": "g"}}}),
            "tool_choice.function.name",
        ),
    ] {
        let error = refused(OLD, json!([user("x")]), more);
        assert_eq!((error.code().status().as_u16(), error.param_name()), (400, Some(place)));
    }
}

#[test]
fn what_the_vendor_lacks_is_dropped_by_name() {
    let more = json!({"n": 1, "seed": 1, "presence_penalty": 0.5, "frequency_penalty": 0, "logprobs": false, "store": true,
        "metadata": {"a": "b"}, "service_tier": "priority", "whatever": 1, "top_p": 0.9, "temperature": 0.2});
    let (body, dropped) = sent_and_dropped("claude-sonnet-4-5", json!([user("x")]), more);
    assert_eq!(dropped, ["store", "metadata", "whatever", "seed", "presence_penalty", "service_tier", "top_p"]);
    let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["model", "max_tokens", "messages", "temperature"]);
    assert_eq!(body["temperature"], json!(0.2));
}

#[test]
fn the_bound_of_output_is_the_callers_at_most_the_ceiling() {
    let bound = |upstream: &str, more: Value| sent(upstream, json!([user("x")]), more)["max_tokens"].as_u64().unwrap();
    assert_eq!(bound(OLD, json!({"max_tokens": 9, "max_completion_tokens": 10})), 10);
    assert_eq!(bound(OLD, json!({"max_tokens": 1_000_000})), 4_096);
    assert_eq!(bound("claude-sonnet-4-5", json!({})), 16_384);
    assert_eq!(bound("claude-sonnet-4-5", json!({"stream": true})), 64_000);
    assert_eq!(bound("someone-elses", json!({"max_tokens": 1_000_000})), 1_000_000);

    let held = call(&with(json!([user("x")]), json!({"max_tokens": 50}))).bound_output(7);
    let mut target = target(OLD);
    let mut terms = ModelTerms::clone(&target.terms);
    terms.max_output_tokens = Some(5);
    let max_tokens = |target: &Target| {
        let body = Anthropic.encode(&held, target).unwrap().request.unwrap().into_body().into_bytes();
        serde_json::from_slice::<Value>(&body).unwrap()["max_tokens"].clone()
    };
    assert_eq!(max_tokens(&target), 7);
    target.terms = terms.into();
    assert_eq!(max_tokens(&target), 5);
}

#[test]
fn tools_and_their_choice_are_mapped() {
    let choice = |upstream: &str, choice: Value, parallel: Value| {
        let more = json!({"tools": [weather()], "tool_choice": choice, "parallel_tool_calls": parallel});
        sent(upstream, json!([user("x")]), more).get("tool_choice").cloned().unwrap_or_default()
    };
    let none = Value::Null;
    let named = json!({"type": "function", "function": {"name": "get_weather"}});
    assert_eq!(choice(OLD, none.clone(), none.clone()), none);
    assert_eq!(choice(OLD, json!("auto"), json!(true)), json!({"type": "auto"}));
    assert_eq!(choice(OLD, none.clone(), json!(false)), json!({"type": "auto", "disable_parallel_tool_use": true}));
    assert_eq!(choice(OLD, json!("required"), none.clone()), json!({"type": "any"}));
    assert_eq!(choice(OLD, json!("none"), json!(false)), json!({"type": "none"}));
    assert_eq!(choice(OLD, named.clone(), none.clone()), json!({"type": "tool", "name": "get_weather"}));
    let allowed = json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named]}});
    assert_eq!(choice(OLD, allowed, none.clone()), json!({"type": "any"}));
    assert_eq!(choice(NEW, json!("required"), none), json!({"type": "auto"}));
    let body = sent(OLD, json!([user("x")]), json!({"tools": [], "tool_choice": "auto"}));
    assert!(body.get("tools").is_none() && body.get("tool_choice").is_none());
}

#[test]
fn a_tool_is_strict_where_the_grammar_takes_it() {
    let mut tool = weather();
    tool["function"]["strict"] = json!(true);
    let (body, dropped) = sent_and_dropped(NEW, json!([user("x")]), json!({"tools": [tool]}));
    assert_eq!((&body["tools"][0]["strict"], dropped), (&json!(true), vec![].into()));
    let (body, dropped) = sent_and_dropped(OLD, json!([user("x")]), json!({"tools": [tool]}));
    assert_eq!((body["tools"][0].get("strict"), dropped), (None, vec!["strict"].into()));
    tool["function"]["parameters"]["properties"]["city"]["minLength"] = json!(3);
    let (body, dropped) = sent_and_dropped(NEW, json!([user("x")]), json!({"tools": [tool]}));
    assert_eq!((body["tools"][0].get("strict"), dropped), (None, vec!["strict"].into()));
}

#[test]
fn a_schema_is_the_vendors_own_or_a_forced_tool() {
    let format = |schema: Value| json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}});
    let closed = json!({"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}, "required": ["a"]});
    let body = sent(NEW, json!([user("x")]), format(closed.clone()));
    let want = json!({"type": "object", "properties": {"a": {"type": "integer", "description": "Note: minimum: 3."}},
        "required": ["a"], "additionalProperties": false});
    assert_eq!(body["output_config"], json!({"format": {"type": "json_schema", "schema": want}}));

    let open = json!({"type": "object", "properties": {}, "additionalProperties": {"type": "string"}});
    for (upstream, schema) in [(OLD, closed), ("claude-sonnet-4-5", open.clone())] {
        let body = sent(upstream, json!([user("x")]), format(schema.clone()));
        assert_eq!(body["tools"], json!([{"name": "json_tool_call", "input_schema": schema}]));
        assert_eq!(body["tool_choice"], json!({"type": "tool", "name": "json_tool_call"}));
    }
    assert_eq!(refused(NEW, json!([user("x")]), format(open)).code(), Code::InvalidParameter);
    let body = sent(NEW, json!([user("x")]), json!({"response_format": {"type": "json_object"}}));
    assert_eq!(body["system"][0]["text"], "Respond only with one JSON object.");
}

#[test]
fn reasoning_effort_is_a_budget_or_an_effort() {
    let (body, dropped) =
        sent_and_dropped(BUDGET, json!([user("x")]), json!({"reasoning_effort": "high", "temperature": 0.5}));
    assert_eq!(body["thinking"], json!({"type": "enabled", "budget_tokens": 4096}));
    assert_eq!((&body["max_tokens"], dropped), (&json!(8192), vec!["temperature"].into()));
    let body = sent(BUDGET, json!([user("x")]), json!({"reasoning_effort": "high", "max_tokens": 2000}));
    assert_eq!((&body["thinking"]["budget_tokens"], &body["max_tokens"]), (&json!(1999), &json!(2000)));

    let adaptive = |upstream: &str, effort: &str| {
        let body = sent(upstream, json!([user("x")]), json!({"reasoning_effort": effort}));
        (body["thinking"]["type"].clone(), body["output_config"]["effort"].clone())
    };
    assert_eq!(adaptive("claude-opus-4-6", "xhigh"), (json!("adaptive"), json!("high")));
    assert_eq!(adaptive("claude-opus-4-7", "minimal"), (json!("adaptive"), json!("low")));
    assert_eq!(adaptive("claude-opus-5", "none"), (json!("disabled"), Value::Null));
    assert_eq!(adaptive("claude-sonnet-5-5", "none"), (json!("between_tools"), Value::Null));
    assert_eq!(adaptive(NEW, "none"), (Value::Null, json!("low")));

    for (upstream, more) in [
        (OLD, json!({"reasoning_effort": "high"})),
        (BUDGET, json!({"reasoning_effort": "high", "max_tokens": 1024})),
        (BUDGET, json!({"reasoning_effort": "high", "tools": [weather()], "tool_choice": "required"})),
    ] {
        let (body, dropped) = sent_and_dropped(upstream, json!([user("x")]), more);
        assert_eq!((body.get("thinking"), dropped), (None, vec!["reasoning_effort"].into()));
    }
}

#[test]
fn thinking_goes_back_as_it_came() {
    let history = |extra: Value| {
        let mut assistant = json!({"role": "assistant", "content": null, "tool_calls": [called("a", "{}")]});
        assistant.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!([user("x"), assistant, {"role": "tool", "tool_call_id": "a", "content": "1"}])
    };
    let think = json!({"reasoning_effort": "low"});
    let block = json!({"type": "thinking", "thinking": "Hm.", "signature": "sig"});
    for extra in [
        json!({"thinking_blocks": [block], "reasoning_content": "Hm."}),
        json!({"thinking_blocks": [{"index": 0, "type": "thinking", "thinking": "", "signature": "sig"}], "reasoning_content": "Hm."}),
    ] {
        let body = sent(BUDGET, history(extra.clone()), think.clone());
        assert_eq!(body["messages"][1]["content"][0], block);
        assert_eq!(body["thinking"]["type"], "enabled");
        assert_eq!(sent(OLD, history(extra), json!({}))["messages"][1]["content"][0]["type"], "tool_use");
    }
    let (body, dropped) = sent_and_dropped(BUDGET, history(json!({})), think);
    assert_eq!((body.get("thinking"), dropped), (None, vec!["reasoning_effort"].into()));
}

#[test]
fn an_answer_is_continued_where_the_model_can() {
    let messages = json!([user("x"), {"role": "assistant", "content": "So: "}]);
    assert_eq!(sent(OLD, messages.clone(), json!({}))["messages"][1]["content"][0]["text"], "So:");
    assert_eq!(refused(NEW, messages, json!({})).code(), Code::UnsupportedParameter);
}

#[test]
fn the_request_carries_the_vendors_headers_and_hides_the_key() {
    let request = encode(OLD, with(json!([user("x")]), json!({}))).unwrap().request.unwrap();
    assert_eq!(request.uri(), "http://127.0.0.1:9/v1/messages");
    assert_eq!(request.headers()["anthropic-version"], "2023-06-01");
    assert_eq!(request.headers()["x-api-key"], "sk-ant-secret");
    assert!(!format!("{request:?}").contains("secret"));
    let mut target = target(OLD);
    target.credential = Arc::new(Credential::None);
    let error = Anthropic.encode(&call(&with(json!([user("x")]), json!({}))), &target).unwrap_err();
    assert_eq!(error.code(), Code::ProviderAuthError);
}
