//! What counts as a key.

use kancy::MintedKey;

use crate::setup::{Setup, bearer};

#[tokio::test]
async fn a_good_key_becomes_its_caller_and_goes_no_further() {
    let setup = Setup::new();
    let (acme, umbrella) = (setup.key("acme").await, setup.key("umbrella").await);
    setup.ask_as(&acme).await.passes();
    setup.ask_as(&umbrella).await.passes();
    let seen = setup.seen.lock().unwrap();
    let workspaces: Vec<_> = seen.iter().map(|(caller, _)| caller.home().workspace.as_str()).collect();
    assert_eq!(workspaces, ["acme", "umbrella"]);
    assert_eq!(seen[0].0.key_id(), acme.id.as_str());
    assert!(seen.iter().all(|(_, headers)| headers.is_empty()));
}

#[tokio::test]
async fn the_scheme_may_be_written_in_any_case() {
    let setup = Setup::new();
    let key = setup.key("acme").await;
    for scheme in ["bearer", "BEARER", "bEaReR"] {
        let value = format!("{scheme} {}", key.text.expose());
        setup.ask(&[("authorization", value.as_bytes())]).await.passes();
    }
}

#[tokio::test]
async fn anything_but_one_bearer_token_is_refused_without_asking_the_store() {
    let setup = Setup::new();
    let key = setup.key("acme").await;
    let (text, good) = (key.text.expose(), bearer(&key));
    let mut typo = good.clone();
    let last = typo.pop().unwrap();
    typo.push(if last == '0' { '1' } else { '0' });
    let long = format!("Bearer {}", "k".repeat(1 << 20));
    let double = format!("{good}, {good}");
    let values = [
        "",
        "Bearer",
        "Bearer ",
        "Bearer k",
        text,
        "Basic dXNlcjpwYXNz",
        &format!("Basic {text}"),
        &format!("Bearer  {text}"),
        &format!("Bearer\t{text}"),
        &format!(" {good}"),
        &format!("{good} "),
        &format!("{good} {text}"),
        &double,
        &typo,
        &long,
        "Bearer kancy_🔑",
        "Bearer ' OR 1=1 --",
        &format!("Bearer {}", key.id),
    ];
    for value in values {
        let answer = setup.ask(&[("authorization", value.as_bytes())]).await;
        answer.is(401, "invalid_api_key");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        assert!(answer.headers.contains_key("x-request-id"));
        assert!(!answer.text.contains(text) && !answer.text.contains("OR 1=1"), "{answer:?}");
    }
    setup.ask(&[]).await.is(401, "invalid_api_key");
    for second in [good.as_str(), "Basic dXNlcjpwYXNz"] {
        let twice = [("authorization", good.as_bytes()), ("authorization", second.as_bytes())];
        setup.ask(&twice).await.is(401, "invalid_api_key");
    }
    assert_eq!((setup.keys.lookups(), setup.passed()), (0, 0));
}

#[tokio::test]
async fn a_key_in_another_header_alone_is_no_key() {
    let setup = Setup::new();
    let key = setup.key("acme").await;
    for header in ["x-api-key", "api-key", "x-goog-api-key"] {
        setup.ask(&[(header, key.text.expose().as_bytes())]).await.is(401, "invalid_api_key");
    }
}

#[tokio::test]
async fn another_header_may_echo_the_key_but_not_differ_from_it() {
    let setup = Setup::new();
    let (key, other) = (setup.key("acme").await, setup.key("acme").await);
    let (good, text) = (bearer(&key), key.text.expose().as_bytes());
    for header in ["x-api-key", "api-key", "x-goog-api-key"] {
        let with = |more: &[&[u8]]| {
            let mut headers = vec![("authorization", good.as_bytes())];
            headers.extend(more.iter().map(|value| (header, *value)));
            setup.ask(&headers)
        };
        with(&[text]).await.passes();
        with(&[b""]).await.is(401, "invalid_api_key");
        with(&[other.text.expose().as_bytes()]).await.is(401, "invalid_api_key");
        with(&[text, b"sk-other"]).await.is(401, "invalid_api_key");
    }
    let seen = setup.seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|(_, headers)| headers.is_empty()), "the echo goes no further either");
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_id_read_the_same() {
    let setup = Setup::new();
    let key = setup.key("acme").await;
    let wrong = setup.ask_as(&MintedKey::rotate(&key.id, None)).await;
    let unknown = setup.ask_as(&MintedKey::new(None)).await;
    wrong.is(401, "invalid_api_key");
    unknown.is(401, "invalid_api_key");
    assert_eq!(wrong.error("message"), unknown.error("message"));
}

#[tokio::test]
async fn the_stored_digest_opens_nothing() {
    let setup = Setup::new();
    let key = setup.key("acme").await;
    let hex: String = key.digest.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
    setup.ask(&[("authorization", format!("Bearer {hex}").as_bytes())]).await.is(401, "invalid_api_key");
}

#[tokio::test]
async fn a_grpc_caller_is_refused_in_grpc_headers() {
    let setup = Setup::new();
    let answer = setup.ask(&[("content-type", b"application/grpc+proto")]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/grpc");
    assert_eq!(answer.headers["grpc-status"], "16");
    assert_eq!(answer.text, "");
}
