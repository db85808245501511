//! The sample of CONTRACT section 2, and one bad file for each way to be wrong.

use std::time::Duration;

use super::*;
use crate::base::money::Rate;
use crate::domain::key::{KeyDigest, KeySource};
use crate::domain::limit::{LimitSource, Measure, Mode, OnStoreFailure, Per};
use crate::domain::modality::Modality;
use crate::domain::model::OptionPolicy;
use crate::domain::price::Price;
use crate::http::meter::Abandoned;
use crate::provider::kind::Kind;
use crate::provider::traits::Credential;

const KEY: &str = "kancy_production_000SYW7RiJxkEgOGusQGwp_3oDH4mEVFvp7u7ED6UzpF5eHPrBI5AHumY7UBpOQIJz41yIaJ";
const KEY_ID: &str = "000SYW7RiJxkEgOGusQGwp";

const SAMPLE: &str = r#"
[storage]
url = "sqlite:kancy.db"
quota = "redis://127.0.0.1:6379"
durable = true
on_store_failure = "closed"

[gateway]
max_body_bytes = 33554432
on_disconnect = "drain"
drain_seconds = 31
abandoned = "held"
shutdown_grace_seconds = 32
key_cache_seconds = 33
public_base_url = "https://ai.example.com"

[admin]
token = "env:KANCY_ADMIN_TOKEN"

[providers.openai]
kind = "openai"
base_url = "http://127.0.0.1:9000/v1/"
api_key = "env:OPENAI_API_KEY"
timeout_seconds = 601
idle_timeout_seconds = 121
content_hosts = ["cdn.example.com"]

[models."gpt-4o"]
provider = "openai"
upstream = "gpt-4o"
modality = "text"
max_output_tokens = 16384
max_reasoning_tokens = 7
max_part_tokens = 50001
price = { input = "2.50", cached_input = "1.25", output = "10.00" }
options = "nearest"

[[models."gpt-4o".price_tier]]
when = { size = "1536x1024", quality = "high", resolution = "1080p", audio = true, mode = "pro", input_over = 200000 }
price = { input = "5" }

[[keys]]
key = "env:SITE_KEY"
name = "site-prod"
workspace = "acme"
project = "site"
team = "web"
environment = "production"
models = ["gpt-4o", "claude-*"]
modalities = ["text", "image"]

[[limits]]
scope = "workspace:acme"
modality = "text"
model = "gpt-4o"
measure = "tokens"
amount = 100000
per = "minute"
mode = "enforce"
alert_at = [0.5, 0.8, 1.0]
on_store_failure = "open"

[[limits]]
scope = "key:site-prod"
measure = "spend"
amount = "12.50"
per = "total"
mode = "shadow"

[jobs]
poll_seconds = 5
max_poll_seconds = 30
deadline_seconds = 1800
on_unknown = "charge"

[delivery]
schedule_seconds = [0, 5, 300]
timeout_seconds = 20

[[webhooks]]
workspace = "acme"
url = "https://example.com/hook?a=b"
secret = ["env:HOOK_SECRET", "whsec_b2xk"]
events = ["video.generation.completed", "usage.alert.triggered"]
allow_private = false
"#;

fn env(name: &str) -> Option<String> {
    let value = match name {
        "KANCY_ADMIN_TOKEN" => "admin-secret",
        "OPENAI_API_KEY" => "sk-secret",
        "SITE_KEY" => KEY,
        "HOOK_SECRET" => "whsec_bmV3",
        "BAD" => "canary of the environment",
        _ => return None,
    };
    Some(value.to_owned())
}

fn error(file: &str) -> String {
    Config::parse(file, env).unwrap_err().to_string()
}

#[test]
fn the_sample_is_read_in_full() {
    let config = Config::parse(SAMPLE, env).unwrap();
    assert_eq!(config.storage.url, StorageUrl::Sqlite("kancy.db".into()));
    assert_eq!(config.storage.quota.as_ref().unwrap().expose(), "redis://127.0.0.1:6379");
    assert_eq!(
        config.gateway,
        GatewayConfig {
            max_body_bytes: 33_554_432,
            on_disconnect: OnDisconnect::Drain,
            drain: Duration::from_secs(31),
            abandoned: Abandoned::Held,
            shutdown_grace: Duration::from_secs(32),
            key_cache: Duration::from_secs(33),
            public_base_url: Some(http::Uri::from_static("https://ai.example.com")),
        }
    );
    assert_eq!(config.admin.unwrap().token.expose(), "admin-secret");
    assert_eq!((config.jobs.poll, config.jobs.on_unknown), (Some(Duration::from_secs(5)), OnUnknown::Charge));
    assert_eq!(config.delivery.schedule.len(), 3);
    let hook = &config.webhooks[0];
    assert_eq!(hook.url, "https://example.com/hook?a=b");
    assert_eq!(hook.secrets.iter().map(|s| s.expose()).collect::<Vec<_>>(), ["whsec_bmV3", "whsec_b2xk"]);
    assert_eq!(hook.events, ["video.generation.completed", "usage.alert.triggered"]);
}

#[test]
fn a_provider_and_its_model_are_read_and_the_other_known_models_of_its_kind_come_by_themselves() {
    let config = Config::parse(SAMPLE, env).unwrap();
    let [provider] = &config.providers[..] else { panic!("one provider") };
    assert_eq!((&*provider.name, provider.kind), ("openai", Kind::OpenAi));
    assert_eq!(provider.base_url, "http://127.0.0.1:9000/v1");
    assert_eq!(provider.credential, Credential::ApiKey("sk-secret".into()));
    assert_eq!((provider.timeouts.first_byte.as_secs(), provider.timeouts.idle.as_secs()), (601, 121));
    assert_eq!(*provider.content_hosts, ["cdn.example.com".to_owned()]);

    let ids: Vec<_> = config.models.iter().map(|model| &*model.terms.id).collect();
    assert_eq!(ids, ["gpt-4o", "openai-image", "whisper-asr", "openai-tts"]);
    let terms = &config.models[0].terms;
    assert_eq!((terms.max_reasoning_tokens, terms.max_part_tokens), (7, 50_001));
    assert_eq!(terms.options, OptionPolicy::Nearest);
    let Price::Rates { base, tiers } = &terms.price else { panic!("priced") };
    assert_eq!(base.cached_input, Rate::per_million("1.25").ok());
    assert_eq!((tiers[0].rates.input, tiers[0].when.input_over), (Rate::per_million("5").ok(), Some(200_000)));
    assert_eq!((tiers[0].when.audio, tiers[0].when.mode.as_deref()), (Some(true), Some("pro")));
}

#[test]
fn keys_and_limits_of_the_file_are_marked_as_its_own() {
    let config = Config::parse(SAMPLE, env).unwrap();
    let key = &config.keys[0];
    assert_eq!((key.id.as_str(), key.source), (KEY_ID, KeySource::Config));
    assert_eq!(key.digest, KeyDigest::of(KEY));
    assert_eq!(key.modalities, [Modality::Text, Modality::Image]);
    assert!(key.models.allow("claude-3-opus") && !key.models.allow("veo"));

    let [tokens, spend] = &config.limits[..] else { panic!("two limits") };
    assert_eq!(tokens.alert_at, [500, 800, 1_000]);
    assert_eq!((tokens.mode, tokens.on_store_failure), (Mode::Enforce, Some(OnStoreFailure::Open)));
    assert_eq!((tokens.key.measure, tokens.key.per), (Measure::Tokens, Some(Per::Minute)));
    assert_eq!((spend.amount, spend.mode, spend.source), (12_500_000_000, Mode::Shadow, LimitSource::Config));
    assert_eq!(spend.key.scope.to_string(), format!("key:{KEY_ID}"));
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(Config::parse("", env).unwrap(), Config::default());
}

#[test]
fn a_known_model_keeps_its_own_terms_where_the_file_is_silent_and_loses_them_where_it_speaks() {
    let file = r#"
        providers.a = { kind = "anthropic", api_key = "k" }
        providers.e = { kind = "echo" }
        models."claude-3-opus" = { upstream = "claude-x", price = { input = "1" } }
        models."my/own:1" = { provider = "e", price = "free" }
        models.plain = { provider = "e" }
    "#;
    let config = Config::parse(file, env).unwrap();
    let model = |id: &str| config.models.iter().find(|model| &*model.terms.id == id).unwrap();
    let opus = model("claude-3-opus");
    assert_eq!((&*opus.provider, &*opus.upstream, opus.terms.max_output_tokens), ("a", "claude-x", Some(4_096)));
    let Price::Rates { base, .. } = &opus.terms.price else { panic!("priced") };
    assert_eq!((base.input, base.output), (Rate::per_million("1").ok(), None));
    let own = model("my/own:1");
    assert_eq!((&*own.upstream, own.terms.modality, &own.terms.price), ("my/own:1", Modality::Text, &Price::Free));
    assert_eq!(model("plain").terms.price, Price::Unpriced);
    assert_eq!(config.models.len(), 3);
}

#[test]
fn two_providers_of_a_kind_imply_no_model() {
    let file = r#"
        providers.a = { kind = "openai", api_key = "k" }
        providers.b = { kind = "openai", api_key = "k" }
    "#;
    assert!(Config::parse(file, env).unwrap().models.is_empty());
    let named = format!("{file}\nmodels.gpt-4o = {{}}");
    assert_eq!(error(&named), "models.gpt-4o.provider: is missing");
}

#[test]
fn each_kind_of_provider_is_accepted() {
    for kind in Kind::ALL {
        let file = format!("providers.p = {{ kind = \"{kind}\", api_key = \"k\", base_url = \"http://127.0.0.1:1\" }}");
        assert_eq!(Config::parse(&file, env).unwrap().providers[0].kind, kind);
    }
    let kling = r#"providers.k = { kind = "kling", access_key = "a", secret_key = "s" }"#;
    let credential = Config::parse(kling, env).unwrap().providers[0].credential.clone();
    assert_eq!(credential, Credential::AccessKey { access: "a".into(), secret: "s".into() });
}

#[test]
fn what_is_wrong_with_storage_gateway_or_admin_is_told_in_one_line() {
    for (file, want) in [
        ("x = = 1", "line 1: "),
        ("[storage]\nurl = \"memory:\"\nurl = \"memory:\"", "line 3: duplicate key"),
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
        ("providers.p = { kind = 'echo', base_url = 'http://u:p@h' }", "providers.p.base_url: "),
        (
            "providers.p = { kind = 'echo', content_hosts = ['https://x'] }",
            "providers.p.content_hosts[0]: \"https://x\"",
        ),
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

#[test]
fn without_a_file_the_environment_names_the_providers_and_the_demo_models_are_free() {
    let env = |name: &str| match name {
        "OPENAI_API_KEY" => Some("sk-1".to_owned()),
        "GEMINI_API_KEY" => Some(String::new()),
        "KLING_ACCESS_KEY" | "KLING_SECRET_KEY" => Some("pair".to_owned()),
        _ => None,
    };
    let config = Config::from_env(env).unwrap();
    let kinds: Vec<_> = config.providers.iter().map(|provider| provider.kind).collect();
    assert_eq!(kinds, [Kind::OpenAi, Kind::Kling, Kind::Echo]);
    let ids: Vec<_> = config.models.iter().map(|model| &*model.terms.id).collect();
    let want = [
        "gpt-4o",
        "openai-image",
        "kling-video",
        "whisper-asr",
        "openai-tts",
        "demo-chat",
        "demo-image",
        "demo-video",
        "demo-tts",
        "demo-asr",
        "demo-embedding",
    ];
    assert_eq!(ids, want);
    assert!(config.models.iter().filter(|m| &*m.provider == "echo").all(|m| m.terms.price == Price::Free));
    assert!(config.admin.is_none() && config.keys.is_empty());
    assert!(Config::from_env(|name| (name == "ARK_API_KEY").then(|| "two words".to_owned())).is_err());
}
