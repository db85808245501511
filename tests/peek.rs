//! The peek agrees with a JSON parser on what is sound, and says the same however a body is cut.

use bytes::Bytes;
use kancy::http::call::Facts;
use kancy::wire::peek::peek;
use kancy::{Code, Error};
use proptest::prelude::*;
use serde_json::Value;

fn read(body: &str) -> Box<Facts> {
    peek(&[Bytes::copy_from_slice(body.as_bytes())]).unwrap()
}

fn refused(body: impl AsRef<[u8]>) -> Error {
    peek(&[Bytes::copy_from_slice(body.as_ref())]).unwrap_err()
}

#[test]
fn facts_are_read_with_their_places() {
    let body = r#" {"model":"gpt-\u0034o","messages":[{"role":"user","content":"hi"}], "stream" : true,
        "stream_options":{"x":[1],"include_usage":false},"max_tokens":12,"n":2,"store":null,"seconds":"8"}"#;
    let facts = read(body);
    let model = facts.model.as_ref().unwrap();
    assert_eq!((model.value.as_str(), &body[model.at.clone()]), ("gpt-4o", r#""gpt-\u0034o""#));
    assert_eq!(&body[facts.stream.as_ref().unwrap().at.clone()], "true");
    assert_eq!(facts.messages, Some(1));
    let options = facts.stream_options.as_ref().unwrap();
    assert_eq!(&body[options.at.clone()], r#"{"x":[1],"include_usage":false}"#);
    assert_eq!(&body[options.value.inside..][..4], r#""x":"#);
    let (from, to) = options.value.include_usage_at.unwrap();
    assert_eq!((options.value.include_usage, &body[from..to]), (Some(false), "false"));
    assert_eq!(&body[facts.max_tokens.as_ref().unwrap().at.clone()], "12");
    assert_eq!((facts.n.as_ref().unwrap().value, facts.seconds), (2, Some(8)));
    assert_eq!((facts.object_at, facts.has_members, facts.body_bytes), (1, true, body.len() as u64));
    assert_eq!(facts.store, None);
    assert_eq!(&body[facts.null_at("store").unwrap()], "null");
}

#[test]
fn a_null_is_absent_in_every_field() {
    let body = r#"{"model":null,"stream":null,"stream_options":null,"max_tokens":null,"messages":null,"tools":null,
        "input":null,"web_search_options":null,"service_tier":null,"seconds":null,"audio":null}"#;
    let facts = read(body);
    let nulls = facts.nulls.clone();
    assert_eq!(nulls.len(), 11);
    let mut want = read("{}");
    (want.nulls, want.body_bytes, want.has_members) = (nulls, facts.body_bytes, true);
    assert_eq!(facts, want);
}

#[test]
fn input_is_counted_in_characters_when_it_is_one_text() {
    assert_eq!(read(r#"{"input":"aü\n\ud83d\ude00😀"}"#).input_chars, Some(5));
    assert_eq!(read(r#"{"input":["a"]}"#).input_chars, None);
}

#[test]
fn media_parts_are_counted_and_their_base64_is_told_apart() {
    let facts = read(
        r#"{"messages":[{"role":"user","content":[
            {"type":"text","text":"data:image/png;base64,AAAA"},
            {"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA","detail":"low"}},
            {"image_url":{"url":"https://example.com/a.png"},"type":"image_url"},
            {"type":"input_audio","input_audio":{"data":"AAAAAAAA","format":"wav"}},
            {"type":"file","file":{"file_data":"BBBB"}},
            {"type":"text","text":"x","file_data":"not a payload"}]}]}"#,
    );
    assert_eq!((facts.media_parts, facts.media_bytes, facts.unbounded), (4, 26 + 8 + 4, None));
    let facts = read(r#"{"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:,A"}]}]}"#);
    assert_eq!((facts.media_parts, facts.media_bytes), (1, 7));
}

#[test]
fn features_without_a_bound_are_named() {
    for (member, name) in [
        (r#""messages":[{"content":[{"type":"file","file":{"file_id":"f"}}]}]"#, "file_id"),
        (r#""web_search_options":{}"#, "web_search_options"),
        (r#""tools":[{"type":"function"},{"type":"web_search"}]"#, "tools[1].type"),
        (r#""tools":[{"function":{"type":"function"}}]"#, "tools[0].type"),
        (r#""service_tier":"priority""#, "service_tier"),
        (r#""service_tier":7"#, "service_tier"),
    ] {
        assert_eq!(read(&format!("{{{member}}}")).unbounded.as_deref(), Some(name), "{member}");
    }
    let plain = r#"{"service_tier":"flex","tools":[{"type":"custom"}],"messages":[{"file_id":null}],"file_id":"x"}"#;
    assert_eq!(read(plain).unbounded, None);
}

#[test]
fn fields_of_the_wrong_type_are_named() {
    for (param, value) in [
        ("model", "1"),
        ("stream", r#""true""#),
        ("stream_options", "true"),
        ("max_tokens", "0"),
        ("max_tokens", "-1"),
        ("max_tokens", "1.0"),
        ("max_tokens", "1e3"),
        ("max_tokens", r#""5""#),
        ("max_completion_tokens", "9007199254740993"),
        ("max_output_tokens", "99999999999999999999999999"),
        ("n", "0"),
        ("messages", r#""hi""#),
        ("seconds", r#""5s""#),
        ("duration", "5.5"),
    ] {
        let error = refused(format!(r#"{{"{param}":{value}}}"#));
        assert_eq!((error.code(), error.param_name()), (Code::InvalidParameter, Some(param)), "{value}");
    }
    let error = refused(r#"{"stream_options":{"include_usage":1}}"#);
    assert_eq!(error.param_name(), Some("stream_options.include_usage"));
    assert_eq!(refused(r#"{"seconds":"4","duration":12}"#).param_name(), Some("duration"));
    // A body that is no JSON is told so first.
    assert_eq!(refused(r#"{"n":0,}"#).code(), Code::InvalidJson);
}

#[test]
fn bodies_that_are_no_sound_object_are_refused() {
    let deep = |depth| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    read(&deep(127));
    let bomb = format!(r#"{{"a":{}"#, "[".repeat(100_000));
    let crowd = format!("{{{}}}", (0..1_000_000).map(|i| format!(r#""k{i}":0"#)).collect::<Vec<_>>().join(","));
    let long = format!(r#"{{"{0}":1,"{0}":1}}"#, "k".repeat(100_000));
    for body in [
        "",
        " ",
        "[]",
        "1",
        "{",
        r#"{"a""#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        r#"{"a":1}{"#,
        "{,}",
        r#"{"a" 1}"#,
        r#"{"a":01}"#,
        r#"{"a":tru}"#,
        r#"{"a":"\x"}"#,
        r#"{"a":"\u12g4"}"#,
        "{\"a\":\"\n\"}",
        "\u{feff}{}",
        r#"{"a":[1,]}"#,
        r#"{"a":"b"#,
        r#"{"model":"a","model":"b"}"#,
        r#"{"model":"a","mod\u0065l":"b"}"#,
        r#"{"x":1,"x":2}"#,
        r#"{"model":"\ud800"}"#,
        r#"{"a":"\ud800\u0041"}"#,
        r#"{"a":"\udc00"}"#,
        &deep(128),
        &bomb,
        &crowd,
        &long,
    ] {
        assert_eq!(refused(body).code(), Code::InvalidJson, "{}", &body[..body.len().min(40)]);
    }
    for bytes in [&b"{\"a\":\"\xff\"}"[..], b"{\"a\":\"\xe2\x82\"}", b"{\"a\":\"\xed\xa0\x80\"}", b"{\"\xc0\xaf\":1}"] {
        assert_eq!(refused(bytes).code(), Code::InvalidJson);
    }
}

#[test]
fn a_duplicate_is_told_without_its_control_characters() {
    let error = refused(format!(r#"{{"a\r\n{0}":1,"a\r\n{0}":1}}"#, "x".repeat(500)));
    assert!(!error.message().contains(['\r', '\n']) && error.message().len() < 200, "{error}");
}

/// JSON text that is mostly sound, with the fields that are read, odd escapes and odd numbers.
fn json_text() -> impl Strategy<Value = String> {
    let string = prop_oneof![
        Just(r#""""#.to_owned()),
        Just(r#""\ud83d\ude00 é€😀""#.to_owned()),
        Just(r#""\ud83d""#.to_owned()),
        Just(r#""function""#.to_owned()),
        Just(r#""image_url""#.to_owned()),
        Just(r#""data:image/png;base64,AAAA""#.to_owned()),
        "[a-zé😀 ]{0,9}".prop_map(|text| Value::from(text).to_string()),
        any::<String>().prop_map(|text| Value::from(text).to_string()),
    ];
    let number = prop_oneof![
        any::<i32>().prop_map(|n| n.to_string()),
        "-?(0|[1-9][0-9]{0,18})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
        Just("01".to_owned()),
    ];
    let leaf = prop_oneof![string.clone(), number, "(true|false|null)"];
    let key = prop_oneof![
        "(model|stream|stream_options|max_tokens|n|input|messages|tools|include_usage|type|file_id|service_tier|seconds)"
            .prop_map(|key| format!("\"{key}\"")),
        "(image_url|url|file|file_data|web_search_options|size|audio|mod\\\\u0065l)".prop_map(|key| format!("\"{key}\"")),
        string,
    ];
    let list = |items: Vec<String>| items.join(" ,");
    let value = leaf.prop_recursive(4, 48, 6, {
        let key = key.clone();
        move |inner| {
            let member = (key.clone(), inner.clone()).prop_map(|(key, value)| format!("{key}:\t{value}"));
            prop_oneof![
                prop::collection::vec(inner, 0..5).prop_map(move |items| format!("[{}]", list(items))),
                prop::collection::vec(member, 0..5).prop_map(move |items| format!("{{ {}}}", list(items))),
            ]
        }
    });
    let member = (key, value).prop_map(|(key, value)| format!("{key}: {value}"));
    prop::collection::vec(member, 0..8).prop_map(move |items| format!("{{{}}}\n", list(items)))
}

/// Such a text with a few bytes changed, taken out or put in.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\",:\\u0e-. \n\xed".to_vec())];
    let change = (any::<prop::sample::Index>(), byte, 0..3);
    (json_text(), prop::collection::vec(change, 0..3)).prop_map(|(text, changes)| {
        let mut bytes = text.into_bytes();
        for (at, byte, kind) in changes {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => {}
            }
        }
        bytes
    })
}

/// The top-level members in order, twins included.
struct Members(Vec<(String, Value)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn it_agrees_with_a_parser(bytes in prop_oneof![mutated(), long_text()]) {
        let ours = peek(&[Bytes::from(bytes.clone())]);
        let theirs = serde_json::from_slice::<Members>(&bytes);
        match (&ours, &theirs) {
            (_, Err(error)) if error.to_string().contains("number out of range") => {}
            (Err(error), Err(_)) => prop_assert_eq!(error.code(), Code::InvalidJson, "{}", error),
            (Err(error), Ok(members)) if error.code() == Code::InvalidJson => {
                let mut keys: Vec<_> = members.0.iter().map(|(key, _)| key).collect();
                keys.sort();
                let twins = keys.windows(2).any(|pair| pair[0] == pair[1]);
                prop_assert!(twins || error.message().contains("stands twice"), "{}", error);
            }
            (Err(_), Ok(_)) => {}
            (Ok(_), Err(error)) => prop_assert!(false, "taken, but: {}", error),
            (Ok(facts), Ok(members)) => {
                let value = |key: &str| members.0.iter().find(|(k, _)| k == key).map(|(_, v)| v);
                prop_assert_eq!(facts.model.as_ref().map(|m| m.value.as_str()), value("model").and_then(Value::as_str));
                prop_assert_eq!(facts.stream.as_ref().map(|s| s.value), value("stream").and_then(Value::as_bool));
                prop_assert_eq!(facts.max_tokens.as_ref().map(|m| m.value), value("max_tokens").and_then(Value::as_u64));
                prop_assert_eq!(facts.n.as_ref().map(|m| m.value), value("n").and_then(Value::as_u64));
                let chars = value("input").and_then(Value::as_str).map(|text| text.chars().count() as u64);
                prop_assert_eq!(facts.input_chars, chars);
                prop_assert_eq!(facts.has_members, !members.0.is_empty());
                if let Some(model) = &facts.model {
                    let at: String = serde_json::from_slice(&bytes[model.at.clone()]).unwrap();
                    prop_assert_eq!(&at, &model.value);
                }
            }
        }
    }

    #[test]
    fn cuts_change_nothing_in_long_texts(
        bytes in long_text(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 1usize..4), 0..6),
    ) {
        let body = Bytes::from(bytes);
        let whole = peek(std::slice::from_ref(&body));
        let singles: Vec<Bytes> = (0..body.len()).map(|at| body.slice(at..=at)).collect();
        prop_assert_eq!(&peek(&singles), &whole);
        let escapes: Vec<_> = (0..body.len()).filter(|at| body[*at] == b'\\').collect();
        // Mostly near an escape, with slivers behind.
        let mut places = vec![0, body.len()];
        for (cut, width) in cuts {
            let at = if escapes.is_empty() { cut.index(body.len()) } else { escapes[cut.index(escapes.len())] };
            places.extend([at, at + 1, at + 1 + width, at + 2 + width].map(|at| at.min(body.len())));
        }
        places.sort();
        let pieces: Vec<Bytes> = places.windows(2).map(|pair| body.slice(pair[0]..pair[1])).collect();
        prop_assert_eq!(&peek(&pieces), &whole);
    }

    #[test]
    fn cuts_change_nothing(bytes in mutated(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let body = Bytes::from(bytes);
        let whole = peek(std::slice::from_ref(&body));
        let singles: Vec<Bytes> = (0..body.len()).map(|at| body.slice(at..=at)).collect();
        prop_assert_eq!(&peek(&singles), &whole);
        for at in 0..=body.len() {
            prop_assert_eq!(&peek(&[body.slice(..at), body.slice(at..)]), &whole);
        }
        let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        places.extend([0, body.len()]);
        places.sort();
        let pieces: Vec<Bytes> = places.windows(2).map(|pair| body.slice(pair[0]..pair[1])).collect();
        prop_assert_eq!(&peek(&pieces), &whole);
    }
}

#[test]
fn pictures_to_work_from_are_parts_and_their_base64_is_no_text() {
    let body = r#"{"prompt":"a","image":"data:image/png;base64,AAAA","images":[{"image_url":"https://a"},"https://b"],"mask":null}"#;
    let facts = peek(&[Bytes::from_static(body.as_bytes())]).unwrap();
    assert_eq!((facts.media_parts, facts.media_bytes), (3, 26));
    let facts = peek(&[Bytes::from_static(br#"{"images":[{"file_id":"f"}]}"#)]).unwrap();
    assert_eq!(facts.unbounded.as_deref(), Some("file_id"));
}

#[test]
fn what_the_vendor_would_keep_or_do_on_its_own_is_noted() {
    let unowned = |body: &str| peek(&[body.to_owned().into()]).unwrap().unowned;
    for (body, want) in [
        (r#"{"previous_response_id":"resp_1"}"#, "previous_response_id"),
        (r#"{"conversation":{"id":"conv_1"}}"#, "conversation"),
        (r#"{"background":true}"#, "background"),
        (r#"{"prompt":{"id":"pmpt_1"}}"#, "prompt"),
        (r#"{"service_tier":"priority","tools":[{"type":"function"},{"type":"web_search"}]}"#, "tools[1].type"),
        (r#"{"input":[{"role":"user","content":"hi"},{"type":"item_reference","id":"msg_1"}]}"#, "input[1]"),
        (r#"{"input":[{"id":"msg_1"}]}"#, "input[0]"),
    ] {
        assert_eq!(unowned(body).as_deref(), Some(want), "{body}");
    }
    for body in [
        r#"{"previous_response_id":null,"conversation":null,"background":false,"prompt":"a text"}"#,
        r#"{"tools":[{"type":"function","name":"f"},{"type":"custom","name":"c"}]}"#,
        r#"{"input":[{"id":"m","role":"assistant","content":[{"type":"output_text","text":"x"}]},{"type":"reasoning","id":"rs_1"}]}"#,
        r#"{"input":"hi"}"#,
    ] {
        assert_eq!(unowned(body), None, "{body}");
    }
}

/// A body with texts of thousands of bytes, escapes and breaks of all kinds near every boundary.
fn long_text() -> impl Strategy<Value = Vec<u8>> {
    let run = (
        prop::sample::select(vec![0usize, 1, 5, 40, 62, 63, 64, 65, 127, 500, 1_990, 2_040, 2_047, 2_048, 5_000]),
        0usize..9,
    )
        .prop_map(|(base, more)| "k".repeat(base + more));
    let odd = prop::sample::select(vec![
        "\\n",
        "\\\\",
        "\\\"",
        "\\/",
        "\\u0041",
        "\\ud83d\\ude00",
        "\\ud83d",
        "\\udc00",
        "\\x",
        "\\u00g0",
        "\\",
        "é",
        "😀",
        "\t",
        "\x1f",
        "\x7f",
        "",
    ]);
    let odd = (odd, 0u32..6).prop_map(|(odd, rare)| match rare {
        0 => odd,
        _ if matches!(odd, "\\ud83d" | "\\udc00" | "\\x" | "\\u00g0" | "\\" | "\t" | "\x1f") => "\\\\",
        _ => odd,
    });
    let text = prop::collection::vec((run, odd), 0..4)
        .prop_map(|parts| parts.into_iter().map(|(run, odd)| run + odd).collect::<String>());
    let shape = (prop::sample::select(vec!["", "\n", "   ", "\t"]), 0u32..9);
    (prop::collection::vec((text.clone(), text, shape), 1..5), any::<prop::sample::Index>(), 0u32..12).prop_map(
        |(members, at, spoil)| {
            let member = |(n, (key, text, (space, kind))): (usize, &(String, String, (&str, u32)))| match kind {
                0 => format!("{space}\"model\":\"{text}\""),
                1 => format!("{space}\"input\":{space}\"{text}\""),
                2 => format!(
                    "{space}\"messages\":[{{\"type\":\"image_url\",\"image_url\":{{\"url\":\"data:{text}\"}}}}]"
                ),
                3 => format!("\"messages\":[{{\"{key}\":\"{text}\",{space}\"type\":\"{text}\"}}]"),
                4 => format!("\"stream_options\":{{\"{key}\":{space}\"{text}\"}}"),
                _ => format!("{space}\"{n}{key}\"{space}:\"{text}\""),
            };
            let members: Vec<_> = members.iter().enumerate().map(member).collect();
            let mut bytes = format!("{{{}}}", members.join(",")).into_bytes();
            let at = at.index(bytes.len());
            if spoil == 0 {
                bytes[at] = 0xff;
            }
            bytes
        },
    )
}

#[test]
fn a_long_text_with_its_first_escape_far_behind_is_read() {
    for long in [100, 2_040, 2_050, 5_000, 100_000] {
        let text = "k".repeat(long);
        for body in [
            format!(r#"{{"{text}\n":1,"model":"m"}}"#),
            format!(r#"{{"model":"{text}\n"}}"#),
            format!(r#"{{"messages":[{{"type":"input_image","image_url":"data:{text}\/AAA"}}],"model":"a"}}"#),
            // With line breaks, but not in its strings.
            format!("{{\n  \"image\": \"data:{text}\",\n  \"model\": \"a\"\n}}\n"),
        ] {
            let facts = read(&body);
            let value: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(facts.model.map(|m| m.value).as_deref(), value["model"].as_str());
            for cut in [1, 20, 60, body.len() - 20] {
                let bytes = Bytes::from(body.clone());
                let cut = peek(&[bytes.slice(..cut), bytes.slice(cut..)]).unwrap();
                assert_eq!(cut.model.map(|m| m.value).as_deref(), value["model"].as_str());
            }
        }
    }
}
