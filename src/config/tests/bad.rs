//! One bad file for each way to be wrong, and the line that says so.

use super::super::*;
use super::{KEY, SAMPLE, env, error};

#[test]
fn what_is_wrong_with_storage_gateway_or_admin_is_told_in_one_line() {
    for (file, want) in [
        ("x = = 1", "line 1: "),
        ("[[limits]]\namount = 99999999999999999999", "line 2: amount: is a number larger"),
        ("gateway = { drain_seconds = 99999999999999999999 }", "line 1: drain_seconds: "),
        ("admin.token = top-secret = 5", "line 1: unexpected"),
        ("[storage]\nurl = \"memory:\"\nurl = \"memory:\"", "line 3: url stands twice"),
        ("storge = {}", "storge: is no key that is known here; use storage, gateway"),
        ("storage = 5", "storage: must be a table, not an integer"),
        ("storage.urll = 'memory:'", "storage.urll: is no key that is known here; use url, quota"),
        ("storage.url = 'mysql://u:p@h'", "storage.url: must be \"memory:\", \"sqlite:PATH\" or \"postgres://…\""),
        ("storage.url = 'sqlite:'", "storage.url: must be"),
        ("storage.quota = 'memory:'", "storage.quota: must be \"redis://…\""),
        ("storage.durable = 'yes'", "storage.durable: must be true or false, not a string"),
        ("storage.on_store_failure = 'ajar'", "storage.on_store_failure: \"ajar\" is not one of closed, open"),
        ("gateway.max_body_bytes = 0", "gateway.max_body_bytes: 0 is less than 1"),
        ("gateway.max_body_bytes = 1.5", "gateway.max_body_bytes: must be a whole number, not a float"),
        ("gateway.drain_seconds = -1", "gateway.drain_seconds: -1 is less than 0"),
        ("gateway.drain_seconds = 9223372036854775807", "gateway.drain_seconds: 9223372036854775807 seconds are more"),
        ("gateway.public_base_url = 'ai.example.com'", "gateway.public_base_url: \"ai.example.com\" is not an http"),
        ("[admin]", "admin.token: is missing"),
        ("admin.token = ''", "admin.token: is empty"),
        ("admin.token = 'env:NOT_SET'", "admin.token: the environment variable NOT_SET is not set"),
        ("jobs.poll_seconds = 31", "jobs.poll_seconds: is more than max_poll_seconds"),
        ("jobs.on_unknown = 'shrug'", "jobs.on_unknown: \"shrug\" is not one of release, charge"),
        ("delivery.schedule_seconds = []", "delivery.schedule_seconds: must hold at least one wait"),
        ("delivery.schedule_seconds = [5, 'x']", "delivery.schedule_seconds[1]: must be a whole number, not a string"),
    ] {
        let error = error(file);
        assert!(error.starts_with(want), "{file}\n{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn what_is_wrong_with_a_provider_or_a_model_is_told_in_one_line() {
    let echo = "providers.e = { kind = 'echo' }\n";
    for (file, want) in [
        ("providers.p = {}", "providers.p.kind: is missing"),
        ("providers.p.kind = 'acme'", "providers.p.kind: \"acme\" is not one of openai, anthropic"),
        ("providers.p.kind = 'openai'", "providers.p.api_key: is missing"),
        (
            "providers.p = { kind = 'openai-compatible' }",
            "providers.p.base_url: is missing; the kind openai-compatible",
        ),
        ("providers.p = { kind = 'openai', token = 'x' }", "providers.p.token: is no key"),
        ("providers.p = { kind = 'openai', secret_key = 'x' }", "providers.p.secret_key: is for the kind kling alone"),
        ("providers.p = { kind = 'kling', access_key = 'x' }", "providers.p.secret_key: is missing"),
        ("providers.p = { kind = 'echo', base_url = 'http://u:p@h' }", "providers.p.base_url: \"http://…@h\" is not"),
        (
            "providers.p = { kind = 'echo', content_hosts = ['https://x'] }",
            "providers.p.content_hosts[0]: \"https://x\"",
        ),
        ("providers.p = { kind = 'echo', content_hosts = ['u:p@h'] }", "providers.p.content_hosts[0]: \"…@h\" is not"),
        ("providers.p = { kind = 'echo', timeout_seconds = 0 }", "providers.p.timeout_seconds: 0 is less than 1"),
        ("models.m = { provider = 'nobody' }", "models.m.provider: \"nobody\" is not a provider of this file"),
        ("models.'a/b:c' = {}", "models.\"a/b:c\".provider: is missing"),
        ("models.m = { provider = 'e', ceiling = 1 }", "models.m.ceiling: is no key"),
        ("models.m = { provider = 'e', modality = 'smell' }", "models.m.modality: \"smell\" is not a modality"),
        ("models.m = { provider = 'e', max_output_tokens = 0 }", "models.m.max_output_tokens: 0 is less than 1"),
        ("models.m = { provider = 'e', price = 'cheap' }", "models.m.price: \"cheap\" is not a price"),
        ("models.m = { provider = 'e', price = 2.5 }", "models.m.price: must be a string, not a float"),
        (
            "models.m = { provider = 'e', price = { input = 2.5 } }",
            "models.m.price.input: must be a string, not a float",
        ),
        ("models.m = { provider = 'e', price = { input = '-1' } }", "models.m.price.input: is negative"),
        ("models.m = { provider = 'e', price = { input = '1e3' } }", "models.m.price.input: is not a decimal number"),
        ("models.m = { provider = 'e', price = { inputs = '1' } }", "models.m.price.inputs: is no key"),
        ("models.m = { provider = 'e', price_tier = {} }", "models.m.price_tier: must be an array of tables"),
        ("models.m = { provider = 'e', price_tier = [{ price = {} }] }", "models.m.price_tier[0].when: is missing"),
        (
            "models.m = { provider = 'e', price_tier = [{ when = { hue = 'x' }, price = {} }] }",
            "models.m.price_tier[0].when.hue: is no key",
        ),
        (
            "models.m = { provider = 'e', price = 'free', price_tier = [{ when = {}, price = {} }] }",
            "models.m.price_tier: does not go with a price that is \"free\"",
        ),
        ("models.m = { provider = 'e', options = 'lax' }", "models.m.options: \"lax\" is not one of strict, nearest"),
    ] {
        let error = error(&format!("{echo}{file}"));
        assert!(error.starts_with(want), "{file}\n{error}");
    }
}

#[test]
fn what_is_wrong_with_a_key_a_limit_or_a_webhook_is_told_in_one_line() {
    let key = format!("key = '{KEY}', workspace = 'w', project = 'p'");
    let limit = "scope = 'workspace:w', measure = 'requests', amount = 1, per = 'day'";
    let hook = "workspace = 'w', url = 'https://h/x', secret = 'whsec_YQ=='";
    let cases = [
        ("keys = {}".to_owned(), "keys: must be an array of tables, not a table"),
        ("keys = [{}]".to_owned(), "keys[0].key: is missing"),
        (format!("keys = [{{ key = '{KEY}', project = 'p' }}]"), "keys[0].workspace: is missing"),
        (format!("keys = [{{ {key}, name = 'a b' }}]"), "keys[0].name: \"a b\" is not a name"),
        (format!("keys = [{{ {key} }}, {{ {key} }}]"), "keys[1].key: has the id 000SYW7RiJxkEgOGusQGwp of a key above"),
        (format!("keys = [{{ {key}, models = ['a*b'] }}]"), "keys[0].models[0]: \"a*b\" is not a model id"),
        (format!("keys = [{{ {key}, modalities = ['x'] }}]"), "keys[0].modalities[0]: \"x\" is not a modality"),
        (format!("keys = [{{ {key}, expires_at = 1 }}]"), "keys[0].expires_at: is no key"),
        (format!("limits = [{{ {limit} }}, {{ {limit} }}]"), "limits[1].scope: names a limit twice"),
        (
            format!("limits = [{{ {} }}]", limit.replace("workspace:w", "planet:w")),
            "limits[0].scope: \"planet:w\" is not",
        ),
        (format!("limits = [{{ {} }}]", limit.replace("workspace:w", "key:nobody")), "limits[0].scope: names no key"),
        (format!("limits = [{{ {} }}]", limit.replace("amount = 1", "amount = -1")), "limits[0].amount: is negative"),
        (
            format!("limits = [{{ {} }}]", limit.replace("amount = 1", "amount = 1.5")),
            "limits[0].amount: must be a whole",
        ),
        (format!("limits = [{{ {} }}]", limit.replace("amount = 1,", "")), "limits[0].amount: is missing"),
        (format!("limits = [{{ {} }}]", limit.replace("requests", "spend")), "limits[0].amount: is a number; write"),
        (
            format!("limits = [{{ {} }}]", limit.replace("requests", "spend").replace("amount = 1", "amount = 1.5")),
            "limits[0].amount: must be a decimal string of US dollars such as \"12.50\", not a float",
        ),
        (format!("limits = [{{ {} }}]", limit.replace("requests", "concurrency")), "limits[0].per: does not go with"),
        (format!("limits = [{{ {} }}]", limit.replace(", per = 'day'", "")), "limits[0].per: is missing"),
        (
            format!("limits = [{{ {} }}]", limit.replace("'day'", "'week'")),
            "limits[0].per: \"week\" is not one of second",
        ),
        (
            format!("limits = [{{ {} }}]", limit.replace("requests", "hugs")),
            "limits[0].measure: \"hugs\" is not one of",
        ),
        (format!("limits = [{{ {limit}, mode = 'soft' }}]"), "limits[0].mode: \"soft\" is not one of enforce, shadow"),
        (
            format!("limits = [{{ {limit}, alert_at = [0] }}]"),
            "limits[0].alert_at: holds a number that is no threshold",
        ),
        (
            format!("limits = [{{ {limit}, alert_at = ['x'] }}]"),
            "limits[0].alert_at[0]: must be a number, not a string",
        ),
        (format!("limits = [{{ {limit}, burst = 5 }}]"), "limits[0].burst: is no key"),
        (format!("webhooks = [{{ {hook}, url2 = 'x' }}]"), "webhooks[0].url2: is no key"),
        (format!("webhooks = [{{ {} }}]", hook.replace("https", "http")), "webhooks[0].url: is plain http"),
        (format!("webhooks = [{{ {} }}]", hook.replace("whsec_", "")), "webhooks[0].secret: must be \"whsec_\""),
        (format!("webhooks = [{{ {hook}, events = ['x'] }}]"), "webhooks[0].events[0]: \"x\" is not an event"),
    ];
    for (file, want) in cases {
        let error = error(&file);
        assert!(error.starts_with(want), "{file}\n{error}");
    }
}

#[test]
fn one_name_for_two_keys_cannot_be_a_scope() {
    let other = crate::domain::key::MintedKey::new(None).text;
    let file = format!(
        "keys = [{{ key = '{KEY}', name = 'n', workspace = 'w', project = 'p' }},
                 {{ key = '{}', name = 'n', workspace = 'w', project = 'p' }}]
         limits = [{{ scope = 'key:n', measure = 'concurrency', amount = 1 }}]",
        other.expose()
    );
    assert!(error(&file).starts_with("limits[0].scope: names more than one key of this file"));
}

#[test]
fn no_error_and_no_debug_shows_a_secret_or_a_value_of_the_environment() {
    let typo = KEY.replace("IaJ", "IaK");
    for file in [
        format!("keys = [{{ key = '{typo}', workspace = 'w', project = 'p' }}]"),
        "keys = [{ key = 'env:BAD', workspace = 'w', project = 'p' }]".to_owned(),
        "admin.token = 'env:BAD'".to_owned(),
        "storage.url = 'env:BAD'".to_owned(),
        "storage.on_store_failure = 'env:BAD'".to_owned(),
        "gateway.public_base_url = 'env:BAD'".to_owned(),
        "webhooks = [{ workspace = 'env:BAD' }]".to_owned(),
        "providers.p = { kind = 'openai', api_key = 'env:BAD' }".to_owned(),
        "limits = [{ scope = 'env:BAD' }]".to_owned(),
        "limits = [{ scope = 'workspace:w', measure = 'spend', per = 'day', amount = 'env:BAD' }]".to_owned(),
        "admin.token = canary".to_owned(),
    ] {
        let error = error(&file);
        for secret in ["canary", "3oDH4mEVFvp"] {
            assert!(!error.contains(secret), "{error}");
        }
    }
    let shown = format!("{:?}", Config::parse(SAMPLE, env).unwrap());
    for secret in ["sk-secret", "admin-secret", "bmV3", "b2xk", "3oDH4mEVFvp", "6379"] {
        assert!(!shown.contains(secret), "{secret}");
    }
}
