//! What the caller sees.

use serde_json::{Value, json};

use super::*;
use crate::base::error::Code;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/gemini/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn deltas(decoded: &Decoded) -> Vec<Value> {
    let events = events(&decoded.text);
    events.iter().filter_map(|e| e["choices"].get(0)).map(|c| c["delta"].clone()).collect()
}

fn finishes(decoded: &Decoded) -> Vec<Value> {
    let choices = events(&decoded.text).into_iter().filter_map(|e| e["choices"].get(0).cloned());
    choices.filter(|c| !c["finish_reason"].is_null()).map(|c| c["finish_reason"].clone()).collect()
}

#[test]
fn vector_g3_a_call_that_ends_with_stop_ends_with_tool_calls() {
    let (answer, decoded) = whole(
        "{\n \"candidates\": [{\"content\": {\"parts\": [{\"functionCall\": {\"name\": \"set_light\", \"args\": {\n  \"rgb_hex\": \"9400d3\"\n }}}], \
         \"role\": \"model\"}, \"finishReason\": \"STOP\", \"index\": 0}], \"usageMetadata\": {\"promptTokenCount\": 1, \"candidatesTokenCount\": 2}}",
    );
    let choice = &answer["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&json!("tool_calls"), &Value::Null));
    let call = &choice["message"]["tool_calls"][0];
    assert!(call["id"].as_str().unwrap().starts_with("call_"));
    assert_eq!(call["function"], json!({"name": "set_light", "arguments": "{\"rgb_hex\":\"9400d3\"}"}));
    assert!(decoded.complete);
}

#[test]
fn vector_g4_a_blocked_prompt_is_a_filtered_choice() {
    let body =
        r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":6,"totalTokenCount":6}}"#;
    let (answer, decoded) = whole(body);
    let choice = &answer["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&json!("content_filter"), &Value::Null));
    assert_eq!(choice["message"]["refusal"], "Prompt blocked: SAFETY");
    assert_eq!(decoded.usage.unwrap().input_tokens, 6);
    let decoded = stream(format!("data: {body}\r\n\r\n").as_bytes());
    assert_eq!((finishes(&decoded), decoded.complete), (vec![json!("content_filter")], true));
}

#[test]
fn vector_g5_thoughts_that_used_up_the_bound_leave_an_empty_answer() {
    let body = r#"{"candidates":[{"finishReason":"MAX_TOKENS","index":0}],"usageMetadata":{"promptTokenCount":5,"thoughtsTokenCount":45,"totalTokenCount":50}}"#;
    let (answer, decoded) = whole(body);
    let choice = &answer["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&json!("length"), &json!("")));
    assert_eq!(answer["usage"]["completion_tokens"], 45);
    assert_eq!(answer["usage"]["completion_tokens_details"]["reasoning_tokens"], 45);
    assert_eq!(decoded.usage.unwrap().output_tokens, 45);
    let decoded = stream(format!("data: {body}\n\n").as_bytes());
    assert_eq!(finishes(&decoded), [json!("length")]);
}

#[test]
fn vector_g6_a_call_and_its_finish_may_come_apart() {
    let decoded = stream(&fixture("call_then_stop.sse"));
    let deltas = deltas(&decoded);
    assert_eq!(deltas[0], json!({"role": "assistant", "content": ""}));
    let extra = json!({"google": {"thought_signature": "c2lnQQ=="}});
    assert_eq!(deltas[1]["tool_calls"][0]["extra_content"], extra);
    assert_eq!(deltas[2], json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"city\":\"Paris\"}"}}]}));
    assert_eq!((deltas.len(), &deltas[3]), (4, &json!({})));
    assert_eq!(finishes(&decoded), [json!("tool_calls")]);
}

#[test]
fn vector_g7_usage_is_the_last_snapshot() {
    let decoded = stream(&fixture("text.sse"));
    let events = events(&decoded.text);
    assert_eq!(events.last().unwrap(), "[DONE]");
    let usage = &events[events.len() - 2];
    assert_eq!(usage["choices"], json!([]));
    let counted =
        (&usage["usage"]["prompt_tokens"], &usage["usage"]["completion_tokens"], &usage["usage"]["total_tokens"]);
    assert_eq!(counted, (&json!(8), &json!(26), &json!(34)));
    assert_eq!(
        decoded.usage.unwrap(),
        Usage { input_tokens: 8, output_tokens: 26, reasoning_tokens: 21, ..Usage::NONE }
    );
    let text: String = deltas(&decoded).iter().filter_map(|d| d["content"].as_str().map(str::to_owned)).collect();
    assert_eq!(text, "Hello <wörld> \"✓\"");
    assert_eq!(deltas(&decoded)[1], json!({"reasoning_content": "Greet."}));
    let ids: std::collections::HashSet<_> = events.iter().filter_map(|e| e["id"].as_str()).collect();
    assert_eq!(ids.len(), 1);
}

#[test]
fn a_caller_that_did_not_ask_gets_no_usage_chunk_and_the_meter_its_report() {
    let body = fixture("text.sse");
    let decoded = decode(streaming(false), std::iter::once(&*body));
    assert!(!decoded.text.contains("\"usage\"") && decoded.usage.is_some() && decoded.complete);
}

#[test]
fn parallel_calls_are_numbered_and_their_ids_differ() {
    let body = r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}},{"functionCall":{"name":"f","args":{"a":1.0}}},{"functionCall":{"name":"g","args":{},"id":"theirs"}}]},"finishReason":"STOP"}]}"#;
    for text in [whole(body).1.text, stream(format!("data: {body}\n\n").as_bytes()).text] {
        let calls: Vec<&str> = text.split("\"id\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        let calls: Vec<&str> = calls.into_iter().filter(|id| !id.starts_with("chatcmpl-")).collect();
        assert_eq!(calls, ["call_0_0_0", "call_0_0_1", "theirs"]);
        assert!(text.contains(r#"{\"a\":1.0}"#));
    }
}

#[test]
fn candidates_are_told_apart_by_index_or_place() {
    let decoded = stream(&fixture("two_candidates.sse"));
    let mut texts = [String::new(), String::new()];
    for event in events(&decoded.text) {
        for choice in event["choices"].as_array().into_iter().flatten() {
            let at = choice["index"].as_u64().unwrap() as usize;
            texts[at].push_str(choice["delta"]["content"].as_str().unwrap_or_default());
        }
    }
    assert_eq!(texts, ["one", "two"]);
    assert_eq!(finishes(&decoded), [json!("stop"), json!("length")]);
}

#[test]
fn logprobs_are_openais() {
    let body = r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP","logprobsResult":{"chosenCandidates":[{"token":"a","tokenId":1,"logProbability":-0.5}],
        "topCandidates":[{"candidates":[{"token":"a","logProbability":-0.5},{"token":"b","logProbability":-1.5}]}]}}]}"#;
    let top = json!([{"token": "a", "logprob": -0.5, "bytes": [97]}, {"token": "b", "logprob": -1.5, "bytes": [98]}]);
    let want =
        json!({"content": [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": top}], "refusal": null});
    assert_eq!(whole(body).0["choices"][0]["logprobs"], want);
    let decoded = stream(format!("data: {}\n\n", body.replace('\n', " ")).as_bytes());
    assert!(events(&decoded.text).iter().any(|e| e["choices"][0]["logprobs"] == want));
}

#[test]
fn a_renamed_function_comes_back_under_its_own_name() {
    let request = json!({"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function", "function": {"name": "1st"}}]});
    let body = br#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"_1st"}},{"functionCall":{"name":"_other"}}]},"finishReason":"STOP"}]}"#;
    let decoded = decode(encode("gemini-2.5-flash", &request).unwrap(), std::iter::once(&body[..]));
    assert!(decoded.text.contains("\"name\":\"1st\"") && decoded.text.contains("\"name\":\"_other\""));
}

#[test]
fn an_error_inside_a_stream_is_of_its_own_class() {
    let decoded = stream(
        b"data: {\"error\":{\"code\":503,\"message\":\"The model is overloaded.\",\"status\":\"UNAVAILABLE\"}}\r\n\r\n",
    );
    assert_eq!((decoded.error.unwrap().code(), decoded.text.as_str()), (Code::ProviderOverloaded, ""));
    let text = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hi\"}]}}]}\n\n";
    let decoded = stream(
        format!("{text}data: [{{\"error\":{{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\"}}}}]\n\n").as_bytes(),
    );
    assert_eq!(decoded.error.as_ref().unwrap().code(), Code::ProviderRateLimited);
    assert!(decoded.text.contains("Hi") && !decoded.text.contains("[DONE]") && !decoded.complete);
    assert_eq!((decoded.usage, decoded.delivered.output_tokens), (None, 1));
}

#[test]
fn a_stream_cut_short_is_not_complete() {
    let body = fixture("text.sse");
    let end = body.windows(12).position(|w| w == b"finishReason").unwrap();
    let cut = body[..end].iter().rposition(|b| *b == b'\n').unwrap();
    let decoded = decode(streaming(true), std::iter::once(&body[..=cut]));
    assert_eq!((decoded.error.is_none(), decoded.complete, decoded.usage), (true, false, None));
    assert!(!decoded.text.contains("[DONE]") && decoded.delivered.output_tokens > 0);
    for nothing in [&b""[..], b"\r\n\r\n", b"<html>busy</html>"] {
        assert_eq!(stream(nothing).error.unwrap().code(), Code::ProviderError);
    }
}

#[test]
fn an_answer_that_cannot_be_read_is_the_providers_error() {
    for body in ["", "<html>", "{\"candidates\":", "{}", "{\"candidates\":[]}", "[]"] {
        assert_eq!(whole(body).1.error.unwrap().code(), Code::ProviderError, "{body}");
    }
    assert_eq!(
        whole(r#"{"error":{"code":504,"status":"DEADLINE_EXCEEDED"}}"#).1.error.unwrap().code(),
        Code::ProviderTimeout
    );
    assert_eq!(stream(b"data: {\"candidates\":[}\n\n").error.unwrap().code(), Code::ProviderError);
    let many = br#"data: {"candidates":[{"index":4000000000,"finishReason":"STOP"}]}"#;
    assert_eq!(stream(many).error.unwrap().code(), Code::ProviderError);
}

#[test]
fn embeddings_come_as_numbers_or_base64_with_counted_or_estimated_usage() {
    let ask = |format: &str, body: &str| {
        let request = json!({"input": ["hello", "world"], "encoding_format": format});
        let exchange = Gemini.encode(&call(Endpoint::Embeddings, &request), &target("gemini-embedding-2")).unwrap();
        let decoded = decode(exchange, body.as_bytes().chunks(3));
        (serde_json::from_str::<Value>(&decoded.text).unwrap_or_default(), decoded)
    };
    let body = "{\"embeddings\": [{\"values\": [0.5,\n -1]}, {\"values\": [1e-3]}], \"usageMetadata\": {\"promptTokenCount\": 4}}";
    let (answer, decoded) = ask("float", body);
    let want = json!({"object": "list", "data": [
        {"object": "embedding", "index": 0, "embedding": [0.5, -1]}, {"object": "embedding", "index": 1, "embedding": [1e-3]}],
        "model": "public-id", "usage": {"prompt_tokens": 4, "total_tokens": 4}});
    assert_eq!((answer, decoded.usage.unwrap().input_tokens), (want, 4));
    let (answer, decoded) = ask("base64", r#"{"embedding":{"values":[0.5,-1]}}"#);
    assert_eq!(
        (&answer["data"][0]["embedding"], &answer["usage"]["prompt_tokens"]),
        (&json!("AAAAPwAAgL8="), &json!(4))
    );
    assert_eq!((decoded.usage, decoded.complete), (None, true));
    assert_eq!(ask("float", "{\"embeddings\":[]}").1.error.unwrap().code(), Code::ProviderError);
}
