//! The key of a start without a configuration, and how to try it.

use std::net::SocketAddr;

use kancy::{KeyAdmin, KeyFilter, ModelPatterns, Name, NewKey, Page, Secret, Timestamp};

/// A new key for the demo models; those of earlier starts are revoked.
pub async fn key(keys: &dyn KeyAdmin, now: Timestamp) -> Result<Secret, String> {
    let demo = Name::new("demo")?;
    let filter = KeyFilter { workspace: Some(demo.clone()), project: Some(demo) };
    let page = Page { after: None, limit: 1000 };
    let earlier = keys.list(filter, page).await.map_err(|e| e.to_string())?;
    for key in earlier.items.iter().filter(|key| key.revoked_at.is_none()) {
        keys.revoke(&key.id, now).await.map_err(|e| e.to_string())?;
    }
    let (minted, record) =
        NewKey::new("demo", "demo")?.name("demo")?.models(ModelPatterns::new(vec!["demo-*".to_owned()])?).mint(now);
    keys.insert(record).await.map_err(|e| e.to_string())?;
    Ok(minted.text)
}

/// Prints the base URL, the key and a `curl` to paste.
pub fn welcome(address: SocketAddr, key: &Secret) {
    println!(
        "
base URL  http://{address}/v1
key       {key}

Try it:

curl http://{address}/v1/chat/completions \\
  -H 'Authorization: Bearer {key}' \\
  -H 'Content-Type: application/json' \\
  -d '{{\"model\": \"demo-chat\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'
",
        key = key.expose()
    );
}
