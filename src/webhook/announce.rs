//! From an event to its deliveries.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::base::clock::Timestamp;
use crate::base::id::new_id;
use crate::domain::delivery::{Delivery, DeliveryState};
use crate::domain::webhook::{Endpoint, EventKind};
use crate::domain::window::rfc3339;

/// Something that happened.
pub(super) struct Event {
    pub(super) id: Arc<str>,
    pub(super) kind: EventKind,
    pub(super) data: Value,
    pub(super) at: Timestamp,
    /// When the first attempt is due.
    pub(super) due_at: Timestamp,
}

impl Event {
    /// One delivery to each of `endpoints` that wants this kind, and one to `also`, signed by the first of them.
    pub(super) fn deliveries(&self, endpoints: &[Endpoint], also: Option<&Arc<str>>) -> Vec<Delivery> {
        let body: Arc<str> = json!({
            "id": &*self.id,
            "type": self.kind.as_str(),
            "timestamp": rfc3339(self.at),
            "data": self.data,
        })
        .to_string()
        .into();
        let wanting = endpoints.iter().filter(|e| e.events.contains(&self.kind)).map(|e| (e, &e.url));
        let extra = also.and_then(|url| endpoints.first().map(|e| (e, url)));
        wanting.chain(extra).map(|(endpoint, url)| self.delivery(endpoint, url, &body)).collect()
    }

    fn delivery(&self, endpoint: &Endpoint, url: &Arc<str>, body: &Arc<str>) -> Delivery {
        Delivery {
            id: new_id("dlv_"),
            event_id: Arc::clone(&self.id),
            workspace: endpoint.workspace.clone(),
            kind: self.kind,
            endpoint_id: Arc::clone(&endpoint.id),
            url: Arc::clone(url),
            body: Arc::clone(body),
            state: DeliveryState::Pending,
            attempts: 0,
            last_status: None,
            created_at: self.at,
            due_at: Some(self.due_at),
        }
    }
}
