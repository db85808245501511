use serde_json::{Map, Value, json};

use super::{convert, parameters};
use crate::base::error::Code;
use crate::provider::gemini::capability::Dialect;

fn open_api(schema: Value) -> Value {
    convert(&schema, Dialect::OpenApi, "tools[0].function.parameters").unwrap()
}

fn json_schema(schema: Value) -> Value {
    convert(&schema, Dialect::JsonSchema, "response_format.json_schema.schema").unwrap()
}

#[test]
fn the_wire_pages_vector_g9_is_converted() {
    let schema = json!({"type": "object", "properties": {
        "a": {"type": ["string", "null"], "format": "uuid"},
        "b": {"enum": [1, 2], "type": "integer"},
        "c": {"const": "x"},
    }, "additionalProperties": false, "required": ["a"], "$schema": "https://json-schema.org/draft/2020-12/schema"});
    let want = json!({"type": "object", "properties": {
        "a": {"type": "string", "nullable": true, "description": "Format: uuid"},
        "b": {"type": "integer", "description": "Allowed values: 1, 2"},
        "c": {"type": "string", "enum": ["x"]},
    }, "required": ["a"]});
    assert_eq!(open_api(schema), want);
}

#[test]
fn references_are_put_in_place_and_keep_their_own_description() {
    let schema = json!({"type": "object", "properties": {"p": {"$ref": "#/$defs/P", "description": "mine"}},
        "$defs": {"P": {"type": "object", "description": "theirs", "properties": {"q": {"$ref": "#/$defs/Q"}}}, "Q": {"type": "number"}}});
    let want = json!({"type": "object", "properties": {
        "p": {"type": "object", "description": "mine", "properties": {"q": {"type": "number"}}}}});
    assert_eq!(open_api(schema.clone()), want);
    assert_eq!(json_schema(schema), want);
}

#[test]
fn a_recursive_reference_stays_where_the_dialect_has_references() {
    let tree = json!({"$ref": "#/$defs/Node", "$defs": {"Node": {"type": "object", "properties": {
        "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}}}}});
    let node = json!({"type": "object", "properties": {
        "next": {"anyOf": [{"$ref": "#/$defs/_defs_Node"}, {"type": "null"}]}}});
    let mut want = node.clone();
    want["$defs"] = json!({"_defs_Node": node});
    assert_eq!(json_schema(tree.clone()), want);
    let error = convert(&tree, Dialect::OpenApi, "tools[0].function.parameters").unwrap_err();
    assert!(error.message().contains("recursive"), "{error}");
    assert_eq!(error.param_name(), Some("tools[0].function.parameters"));
}

#[test]
fn null_among_alternatives_is_nullable_and_one_that_is_left_stands_alone() {
    let schema = json!({"description": "d", "oneOf": [{"type": "null"}, {"type": "integer", "minimum": 1}]});
    assert_eq!(open_api(schema), json!({"description": "d", "nullable": true, "type": "integer", "minimum": 1}));
    let schema = json!({"type": "object", "anyOf": [{"type": "null"}, {"type": "string"}, {"type": "integer"}]});
    assert_eq!(open_api(schema), json!({"nullable": true, "anyOf": [{"type": "string"}, {"type": "integer"}]}));
}

#[test]
fn all_of_is_merged() {
    let schema = json!({"allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]},
        {"properties": {"b": {"type": "string"}}, "required": ["b"]}]});
    let want = json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["a", "b"]});
    assert_eq!(open_api(schema), want);
}

#[test]
fn what_cannot_be_enforced_is_told() {
    let schema = json!({"type": "integer", "description": "Even.", "multipleOf": 2, "exclusiveMinimum": 0});
    assert_eq!(json_schema(schema)["description"], "Even. (exclusiveMinimum: 0; multipleOf: 2)");
    let map = json!({"type": "object", "additionalProperties": {"type": "integer", "const": 3}});
    assert_eq!(json_schema(map.clone())["additionalProperties"], json!({"type": "integer", "enum": [3]}));
    assert_eq!(open_api(map)["description"], r#"additionalProperties: {"type":"integer","const":3}"#);
}

#[test]
fn arrays_always_say_what_is_in_them() {
    assert_eq!(open_api(json!({"type": "array"})), json!({"type": "array", "items": {"type": "string"}}));
    let tuple = json!({"prefixItems": [{"type": "string"}, {"type": "integer"}]});
    let want = json!({"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}});
    assert_eq!(open_api(tuple), want);
}

#[test]
fn references_that_multiply_are_refused_before_they_fill_the_memory() {
    let mut definitions = Map::new();
    for n in 0..40 {
        let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
        definitions.insert(format!("d{n}"), json!({"properties": {"a": next, "b": next}}));
    }
    definitions.insert("d40".to_owned(), json!({"type": "string"}));
    let bomb = json!({"$ref": "#/$defs/d0", "$defs": definitions});
    for dialect in [Dialect::OpenApi, Dialect::JsonSchema] {
        assert!(convert(&bomb, dialect, "p").unwrap_err().message().contains("too large"));
    }
    for bad in [
        json!({"$ref": "https://example.com/x"}),
        json!({"$ref": "#/$defs/none"}),
        json!([1]),
        json!({"not": 1, "items": {"anyOf": [7]}}),
    ] {
        assert_eq!(convert(&bad, Dialect::JsonSchema, "p").unwrap_err().code(), Code::InvalidParameter, "{bad}");
    }
}

#[test]
fn a_function_without_parameters_has_none() {
    for empty in [
        json!({}),
        json!({"type": "object"}),
        json!({"type": "object", "properties": {}, "additionalProperties": false}),
    ] {
        assert_eq!(parameters(&empty, Dialect::JsonSchema, "p").unwrap(), None);
    }
    assert!(
        parameters(&json!({"additionalProperties": {"type": "string"}}), Dialect::JsonSchema, "p").unwrap().is_some()
    );
    assert!(parameters(&json!("x"), Dialect::JsonSchema, "p").is_err());
}

#[test]
fn a_chain_of_references_is_refused_before_it_fills_the_stack_and_long_text_before_it_multiplies() {
    let mut definitions = Map::new();
    for n in 0..2_000 {
        let next = json!({"items": {"items": {"$ref": format!("#/$defs/d{}", n + 1)}}});
        definitions.insert(format!("d{n}"), next);
    }
    definitions.insert("d2000".to_owned(), json!({"type": "string"}));
    let chain = json!({"$ref": "#/$defs/d0", "$defs": definitions});
    let long = json!({"prefixItems": vec![json!({"$ref": "#/$defs/d"}); 2_000], "$defs": {"d": {"default": "x".repeat(100_000)}}});
    for bad in [chain, long] {
        for dialect in [Dialect::OpenApi, Dialect::JsonSchema] {
            assert!(convert(&bad, dialect, "p").unwrap_err().message().contains("too large"));
        }
    }
}
