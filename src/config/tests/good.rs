//! What files and environments become.

use crate::domain::webhook::EventKind;
use crate::jobs::OnUnknown;
use std::time::Duration;

use super::super::*;
use super::{KEY, KEY_ID, SAMPLE, env, error};
use crate::base::money::Rate;
use crate::domain::key::{KeyDigest, KeySource};
use crate::domain::limit::{LimitSource, Measure, Mode, OnStoreFailure, Per};
use crate::domain::modality::Modality;
use crate::domain::model::OptionPolicy;
use crate::domain::price::Price;
use crate::http::meter::Abandoned;
use crate::provider::kind::Kind;
use crate::provider::traits::Credential;

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
    assert_eq!(hook.events, [EventKind::Completed, EventKind::Alert]);
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
