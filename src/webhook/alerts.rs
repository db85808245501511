//! Alerts go the way of all events.

use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use crate::base::id::base62;
use crate::base::store_future::StoreFuture;
use crate::domain::alert::Alert;
use crate::domain::key::KeyId;
use crate::domain::limit::Scope;
use crate::domain::name::Name;
use crate::domain::webhook::EventKind;
use crate::store::error::StoreResult;
use crate::store::keys::KeyStore;
use crate::store::tables::{AlertStore, Page, PageOf};

use super::announce::Event;
use super::sender::Webhooks;

/// A store of alerts that announces each of them to the webhooks of its workspace. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AnnouncedAlerts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    alerts: Arc<dyn AlertStore>,
    /// Tells in which workspace a key is.
    keys: Arc<dyn KeyStore>,
    webhooks: OnceLock<Webhooks>,
}

impl AnnouncedAlerts {
    /// Keeps alerts in `alerts`; `keys` tells whose an alert of a single key is.
    pub fn new(alerts: Arc<dyn AlertStore>, keys: Arc<dyn KeyStore>) -> Self {
        Self(Arc::new(Inner { alerts, keys, webhooks: OnceLock::new() }))
    }

    /// From here on alerts are announced. Counters are often there before webhooks are; a second call changes nothing.
    pub fn announce_to(&self, webhooks: Webhooks) {
        drop(self.0.webhooks.set(webhooks));
    }

    async fn announce(self, webhooks: Webhooks, alert: Alert) {
        let Some(workspace) = self.workspace(&alert.limit.key.scope).await else { return };
        let Ok(endpoints) = webhooks.endpoints_of(&workspace).await else { return };
        // A store may raise one alert twice, after a restart for instance: its name makes the outbox keep it once.
        let occasion = occasion(&alert);
        let event = Event {
            id: format!("evt_{occasion}").into(),
            kind: EventKind::Alert,
            data: alert.json(),
            at: alert.time,
            due_at: webhooks.first_attempt(),
        };
        let mut deliveries = event.deliveries(&endpoints, None);
        for delivery in &mut deliveries {
            delivery.id = format!("dlv_{}", named(&[&occasion, &delivery.endpoint_id])).into();
        }
        // A store that fails here loses this announcement; the alert itself is kept and listed.
        let _ = webhooks.outbox().push(deliveries).await;
    }

    async fn workspace(&self, scope: &Scope) -> Option<Name> {
        match scope {
            Scope::Workspace(w) | Scope::Team(w, _) | Scope::Project(w, _) | Scope::Environment(w, ..) => {
                Some(w.clone())
            }
            Scope::Key(id) => {
                let found = self.0.keys.lookup(&KeyId::new(id)?).await.ok()??;
                Some(found.home.workspace.clone())
            }
        }
    }
}

/// The same for every raising of the same alert.
fn occasion(alert: &Alert) -> String {
    let key = format!("{:?}", alert.limit.key);
    let window = alert.window_start.map_or(0, |start| start.as_nanos());
    named(&[&key, &format!("{:?}", alert.limit.source), &window.to_string(), &alert.threshold.to_string()])
}

fn named(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    base62(&hash.finalize()[..16], 22)
}

impl AlertStore for AnnouncedAlerts {
    fn raise(&self, alert: Alert) {
        self.0.alerts.raise(alert.clone());
        if let Some(webhooks) = self.0.webhooks.get().cloned() {
            let host = webhooks.shared_host();
            host.spawn(Box::pin(self.clone().announce(webhooks, alert)));
        }
    }

    fn list(&self, page: Page) -> StoreFuture<StoreResult<PageOf<Alert>>> {
        self.0.alerts.list(page)
    }
}
