//! What Gemini is sent.

use serde_json::{Value, json};

use super::*;
use crate::base::error::Code;

fn body(upstream: &str, request: Value) -> Value {
    sent(encode(upstream, &request).unwrap_or_else(|e| panic!("{e}")).request)
}

fn user(content: Value) -> Value {
    json!({"messages": [{"role": "user", "content": content}]})
}

#[test]
fn vector_g1_system_image_and_settings() {
    let request = json!({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": [
            {"type": "text", "text": "what"},
            {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,AA=="}}]}],
        "temperature": 0.2, "max_tokens": 50, "stop": "X", "n": 1, "presence_penalty": 0});
    let want = json!({"systemInstruction": {"parts": [{"text": "S"}]},
        "contents": [{"role": "user", "parts": [{"text": "what"}, {"inlineData": {"mimeType": "image/jpeg", "data": "AA=="}}]}],
        "generationConfig": {"temperature": 0.2, "maxOutputTokens": 50, "stopSequences": ["X"]}});
    assert_eq!(body("gemini-2.5-flash", request), want);
}

#[test]
fn vector_g2_parallel_results_stand_in_call_order_in_one_turn() {
    let request = json!({"messages": [{"role": "user", "content": "go"},
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{\"x\": 1}"}}]},
        {"role": "tool", "tool_call_id": "b", "content": "{\"t\":1}"},
        {"role": "user", "content": "and then"},
        {"role": "tool", "tool_call_id": "a", "content": "42"}]});
    let want = json!([
        {"role": "user", "parts": [{"text": "go"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}, {"functionCall": {"name": "g", "args": {"x": 1}}}]},
        {"role": "user", "parts": [
            {"functionResponse": {"name": "f", "response": {"output": "42"}}},
            {"functionResponse": {"name": "g", "response": {"t": 1}}},
            {"text": "and then"}]}]);
    assert_eq!(body("gemini-2.5-flash", request)["contents"], want);
}

#[test]
fn gemini_3_gets_ids_and_signatures_back_and_a_stand_in_for_one_that_was_lost() {
    let signed = json!({"google": {"thought_signature": "c2ln"}});
    let request = json!({"messages": [{"role": "user", "content": "go"},
        {"role": "assistant", "tool_calls": [
            {"id": "a", "function": {"name": "f", "arguments": "{}"}, "extra_content": signed},
            {"id": "b", "function": {"name": "f", "arguments": "\"{}\""}}]},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "1"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGg=="}}]},
        {"role": "tool", "tool_call_id": "b", "content": ""},
        {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "{\"$ref\":\"x\"}"}]});
    let contents = &body("gemini-3-pro-preview", request)["contents"];
    assert_eq!(contents[1]["parts"][0]["thoughtSignature"], "c2ln");
    assert_eq!(contents[1]["parts"][0]["functionCall"], json!({"id": "a", "name": "f", "args": {}}));
    assert_eq!(contents[1]["parts"][1].get("thoughtSignature"), None);
    let result = &contents[2]["parts"][0]["functionResponse"];
    assert_eq!((&result["id"], &result["response"]), (&json!("a"), &json!({"output": "1"})));
    assert_eq!(result["parts"][0]["inlineData"]["mimeType"], "image/png");
    let stand_in = contents[3]["parts"][0]["thoughtSignature"].as_str().unwrap();
    assert_eq!(stand_in, "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=");
    assert_eq!(contents[4]["parts"][0]["functionResponse"]["response"], json!({"output": "{\"$ref\":\"x\"}"}));
}

#[test]
fn the_conversation_begins_with_the_user_and_has_no_empty_turn() {
    let request = json!({"messages": [{"role": "assistant", "content": "hi"}, {"role": "developer", "content": "D"},
        {"role": "user", "content": ""}, {"role": "assistant", "content": null}, {"role": "user", "content": "a"},
        {"role": "user", "content": [{"type": "text", "text": "b"}]}]});
    let got = body("gemini-2.5-flash", request);
    let want = json!([{"role": "user", "parts": [{"text": " "}]}, {"role": "model", "parts": [{"text": "hi"}]},
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]);
    assert_eq!((&got["contents"], &got["systemInstruction"]), (&want, &json!({"parts": [{"text": "D"}]})));
}

#[test]
fn a_model_without_system_instruction_reads_it_in_the_first_turn() {
    let request = json!({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "u"}]});
    let got = body("gemma-3-27b-it", request);
    assert_eq!(got, json!({"contents": [{"role": "user", "parts": [{"text": "S"}, {"text": "u"}]}]}));
}

#[test]
fn media_parts_are_inline_or_by_url() {
    let parts = json!([
        {"type": "image_url", "image_url": {"url": "https://example.com/a.WEBP?x=1", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://generativelanguage.googleapis.com/v1beta/files/abc"}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0x"}},
        {"type": "file", "file": {"file_data": "data:text/csv;base64,YSxi"}}]);
    let want = json!([
        {"fileData": {"mimeType": "image/webp", "fileUri": "https://example.com/a.WEBP?x=1"}},
        {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0x"}},
        {"inlineData": {"mimeType": "text/plain", "data": "YSxi"}},
        {"text": " "}]);
    assert_eq!(body("gemini-2.5-flash", user(parts))["contents"][0]["parts"], want);
}

#[test]
fn tools_and_the_choice_among_them() {
    let schema =
        json!({"type": "object", "properties": {"a": {"const": "x"}}, "additionalProperties": false, "$schema": "s"});
    let tools = json!([{"type": "function", "function": {"name": "f", "description": "d", "parameters": schema, "strict": true}},
        {"type": "function", "function": {"name": "1st", "parameters": {"type": "object", "properties": {}}}}]);
    let ask = |upstream: &str, choice: Value| {
        body(upstream, json!({"messages": [{"role": "user", "content": "x"}], "tools": tools, "tool_choice": choice}))
    };
    let got = ask("gemini-2.5-flash", json!("required"));
    let parameters = json!({"type": "object", "properties": {"a": {"type": "string", "enum": ["x"]}}, "additionalProperties": false});
    let declared = json!([{"name": "f", "description": "d", "parametersJsonSchema": parameters}, {"name": "_1st"}]);
    assert_eq!(got["tools"], json!([{ "functionDeclarations": declared }]));
    let calling = |got: &Value| got["toolConfig"]["functionCallingConfig"].clone();
    assert_eq!(calling(&got), json!({"mode": "ANY"}));
    assert_eq!(calling(&ask("gemini-2.5-flash", json!("auto"))), json!({"mode": "VALIDATED"}));
    assert_eq!(calling(&ask("gemini-2.0-flash", json!("auto"))), Value::Null);
    assert_eq!(calling(&ask("gemini-2.0-flash", json!("none"))), json!({"mode": "NONE"}));
    let named = json!({"type": "function", "function": {"name": "1st"}});
    assert_eq!(
        calling(&ask("gemini-2.0-flash", named.clone())),
        json!({"mode": "ANY", "allowedFunctionNames": ["_1st"]})
    );
    let allowed = json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named]}});
    let got = ask("gemini-1.5-pro", allowed);
    assert_eq!(
        (&got["tools"], calling(&got)),
        (&json!([{"functionDeclarations": [{"name": "_1st"}]}]), json!({"mode": "ANY"}))
    );
    let got = ask("gemini-1.5-pro", json!("auto"));
    assert!(got["tools"][0]["functionDeclarations"][0]["parameters"].get("additionalProperties").is_none());
    let request = json!({"messages": [{"role": "user", "content": "x"}], "tools": [], "tool_choice": "auto"});
    assert_eq!(body("gemini-2.5-flash", request).get("toolConfig"), None);
}

#[test]
fn json_output_is_asked_for_in_the_models_dialect() {
    let schema = json!({"type": "object", "properties": {"a": {"type": ["integer", "null"]}}});
    let ask = |upstream: &str, format: Value| {
        let request = json!({"messages": [{"role": "user", "content": "x"}], "response_format": format});
        body(upstream, request)["generationConfig"].clone()
    };
    let format = json!({"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": schema}});
    let got = ask("gemini-2.5-flash", format.clone());
    assert_eq!(got, json!({"responseMimeType": "application/json", "responseJsonSchema": schema}));
    let got = ask("gemini-1.5-pro", format);
    assert_eq!(got["responseSchema"]["properties"]["a"], json!({"type": "integer", "nullable": true}));
    assert_eq!(
        ask("gemini-2.5-flash", json!({"type": "json_object"})),
        json!({"responseMimeType": "application/json"})
    );
}

#[test]
fn effort_is_a_budget_or_a_level() {
    let ask = |upstream: &str, effort: &str| {
        let request = json!({"messages": [{"role": "user", "content": "x"}], "reasoning_effort": effort});
        let exchange = encode(upstream, &request).unwrap();
        (exchange.dropped.clone(), sent(exchange.request)["generationConfig"]["thinkingConfig"].clone())
    };
    assert_eq!(
        ask("gemini-2.5-flash", "medium"),
        (vec![].into(), json!({"includeThoughts": true, "thinkingBudget": 8192}))
    );
    assert_eq!(ask("gemini-2.5-flash", "none"), (vec![].into(), json!({"thinkingBudget": 0})));
    assert_eq!(
        ask("gemini-3-flash-preview", "minimal"),
        (vec![].into(), json!({"includeThoughts": true, "thinkingLevel": "MINIMAL"}))
    );
    assert_eq!(ask("gemini-2.0-flash", "high"), (vec!["reasoning_effort"].into(), Value::Null));
}

#[test]
fn the_output_bound_is_the_holds_then_the_callers_and_never_over_the_ceiling() {
    let ask = |held: Option<u64>, asked: Option<u64>, ceiling: Option<u64>, upstream: &str| {
        let call = call(
            Endpoint::ChatCompletions,
            &json!({"messages": [{"role": "user", "content": "x"}], "max_completion_tokens": asked}),
        );
        let call = held.map_or(call.clone(), |held| call.bound_output(held));
        let mut target = target(upstream);
        Arc::make_mut(&mut target.terms).max_output_tokens = ceiling;
        sent(Gemini.encode(&call, &target).unwrap().request)["generationConfig"]["maxOutputTokens"].as_u64()
    };
    assert_eq!(ask(Some(10), Some(50), Some(100), "m"), Some(10));
    assert_eq!(ask(None, Some(500), Some(100), "m"), Some(100));
    assert_eq!(ask(None, None, Some(100), "m"), Some(100));
    assert_eq!(ask(None, None, None, "gemini-2.0-flash"), None);
    assert_eq!(ask(None, Some(100_000), None, "gemini-2.0-flash"), Some(8_192));
}

#[test]
fn settings_that_a_model_lacks_are_dropped_by_name_or_refused() {
    let request = json!({"messages": [{"role": "user", "content": "x"}], "temperature": 1, "top_p": 0.5, "top_k": 3, "seed": 5_000_000_000_i64,
        "frequency_penalty": 1, "user": "u", "store": false, "metadata": {}, "parallel_tool_calls": false, "service_tier": "flex",
        "logprobs": false, "unheard_of": 1});
    let exchange = encode("gemini-3.8-flash", &request).unwrap();
    let want = [
        "store",
        "metadata",
        "unheard_of",
        "user",
        "parallel_tool_calls",
        "temperature",
        "top_p",
        "frequency_penalty",
        "top_k",
    ];
    assert_eq!(exchange.dropped, want);
    let got = sent(exchange.request);
    assert_eq!(got["generationConfig"], json!({"seed": 705_032_704}));
    assert_eq!(got["serviceTier"], "flex");
    let request = json!({"messages": [{"role": "user", "content": "x"}], "n": 2, "logprobs": true, "top_logprobs": 3, "presence_penalty": 0.5});
    let got = body("gemini-2.0-flash", request);
    let want = json!({"candidateCount": 2, "presencePenalty": 0.5, "responseLogprobs": true, "logprobs": 3});
    assert_eq!(got["generationConfig"], want);
}

#[test]
fn the_contracts_chat_example_works_on_every_family() {
    let request =
        json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], "temperature": 0.2});
    for upstream in [
        "gemini-1.5-pro",
        "gemini-2.0-flash",
        "gemini-2.5-pro",
        "gemini-3.8-flash",
        "gemini-4-pro",
        "gemma-3-1b",
        "other",
    ] {
        assert!(encode(upstream, &request).is_ok(), "{upstream}");
    }
}

#[test]
fn the_key_goes_in_a_header_that_does_not_show() {
    let request = streaming(true).request.unwrap();
    let want = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
    assert_eq!(request.uri(), want);
    assert_eq!(request.headers()["x-goog-api-key"], "upstream-secret");
    assert!(!format!("{request:?}").contains("upstream-secret"));
}

#[test]
fn what_cannot_be_sent_is_refused_by_the_field_at_fault() {
    let tool = json!([{"type": "function", "function": {"name": "f"}}]);
    let called = |arguments: &str| json!({"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": arguments}}]});
    let part = |part: Value| json!({"messages": [{"role": "user", "content": [part]}]});
    let with = |field: &str, value: Value| {
        let mut request = user(json!("x"));
        request[field] = value;
        request
    };
    for (want, request) in [
        ("messages", json!({"messages": [{"role": "system", "content": "S"}]})),
        ("messages", user(json!(""))),
        ("messages[0].tool_call_id", json!({"messages": [{"role": "tool", "tool_call_id": "a", "content": "1"}]})),
        ("messages[0].tool_calls[0].id", json!({"messages": [called("{}"), {"role": "user", "content": "x"}]})),
        (
            "messages[2].tool_call_id",
            json!({"messages": [called("{}"), {"role": "tool", "tool_call_id": "a", "content": "1"}, {"role": "tool", "tool_call_id": "a", "content": "1"}]}),
        ),
        (
            "messages[1].tool_calls[0].function.arguments",
            json!({"messages": [{"role": "user", "content": "x"}, called("[1]")]}),
        ),
        (
            "messages[1].tool_calls[0].function.arguments",
            json!({"messages": [{"role": "user", "content": "x"}, called("{\"a\":")]}),
        ),
        (
            "messages[0].content[0]",
            json!({"messages": [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "https://x/a.png"}}]}]}),
        ),
        (
            "messages[0].content[0].image_url.url",
            part(json!({"type": "image_url", "image_url": {"url": "data:image/png,x"}})),
        ),
        (
            "messages[0].content[0].image_url.url",
            part(json!({"type": "image_url", "image_url": {"url": "http://x/a.png"}})),
        ),
        (
            "messages[0].content[0].image_url.url",
            part(json!({"type": "image_url", "image_url": {"url": "data:text/csv;base64,YSxi"}})),
        ),
        (
            "messages[0].content[0].input_audio.format",
            part(json!({"type": "input_audio", "input_audio": {"data": "AA==", "format": "pcm"}})),
        ),
        (
            "messages[0].content[0].input_audio.data",
            part(json!({"type": "input_audio", "input_audio": {"data": "?", "format": "wav"}})),
        ),
        (
            "messages[0].content[0].file.file_data",
            part(json!({"type": "file", "file": {"file_data": "data:application/zip;base64,AA=="}})),
        ),
        ("messages[0].content[0].file.file_id", part(json!({"type": "file", "file": {"file_id": "file-1"}}))),
        ("n", with("n", json!(9))),
        ("n", with("n", json!(0))),
        ("stop", with("stop", json!(["1", "2", "3", "4", "5", "6"]))),
        ("logprobs", with("logprobs", json!(true))),
        ("top_logprobs", with("top_logprobs", json!(2))),
        ("reasoning_effort", with("reasoning_effort", json!("much"))),
        ("web_search_options", with("web_search_options", json!({}))),
        ("functions", with("functions", json!([]))),
        ("modalities", with("modalities", json!(["text", "audio"]))),
        (
            "tool_choice",
            json!({"messages": [{"role": "user", "content": "x"}], "tools": tool, "tool_choice": {"type": "function", "function": {"name": "g"}}}),
        ),
        (
            "response_format",
            json!({"messages": [{"role": "user", "content": "x"}], "tools": tool, "response_format": {"type": "json_object"}}),
        ),
        (
            "tools[0].function.parameters",
            json!({"messages": [{"role": "user", "content": "x"}], "tools": [
            {"type": "function", "function": {"name": "f", "parameters": {"$ref": "elsewhere"}}}]}),
        ),
        (
            "response_format.json_schema.schema",
            with(
                "response_format",
                json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {"$ref": "#/no"}}}),
            ),
        ),
    ] {
        let error = encode("gemini-2.5-flash", &request).map(|_| ()).unwrap_err();
        assert_eq!(error.param_name(), Some(want), "{error} for {request}");
        assert_eq!(error.code().status(), 400);
    }
    let error = encode("gemini-2.5-flash", &json!({"messages": {}})).map(|_| ()).unwrap_err();
    assert_eq!(error.code(), Code::InvalidParameter);
}

#[test]
fn embeddings_are_asked_for_one_by_one_or_in_a_batch() {
    let ask = |request: Value| {
        Gemini.encode(&call(Endpoint::Embeddings, &request), &target("models/gemini-embedding-2")).map(|e| {
            let request = e.request.unwrap();
            (
                request.uri().path().to_owned(),
                e.dropped.iter().collect::<Vec<_>>().join(","),
                serde_json::from_slice::<Value>(&request.into_body().into_bytes()).unwrap(),
            )
        })
    };
    let one = |text: &str| json!({"model": "models/gemini-embedding-2", "content": {"parts": [{"text": text}]}});
    let (path, dropped, body) =
        ask(json!({"model": "m", "input": "hi", "user": "u", "task": "find", "title": null})).unwrap();
    assert_eq!(
        (path.as_str(), dropped, body),
        ("/v1beta/models/gemini-embedding-2:embedContent", "user,task".into(), one("hi"))
    );
    let (path, _, body) = ask(json!({"input": ["a", "b"], "dimensions": 768, "encoding_format": "base64"})).unwrap();
    assert_eq!(path, "/v1beta/models/gemini-embedding-2:batchEmbedContents");
    assert_eq!(body["requests"][1]["outputDimensionality"], 768);
    assert_eq!(body["requests"][0]["content"], one("a")["content"]);
    for (want, request) in [
        ("input", json!({})),
        ("input", json!({"input": []})),
        ("input", json!({"input": ""})),
        ("input", json!({"input": 7})),
        ("input[1]", json!({"input": ["a", ""]})),
        ("input[0]", json!({"input": [1, 2]})),
        ("dimensions", json!({"input": "a", "dimensions": 0})),
        ("encoding_format", json!({"input": "a", "encoding_format": "int8"})),
    ] {
        assert_eq!(ask(request).unwrap_err().param_name(), Some(want));
    }
}
