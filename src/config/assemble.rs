//! From a configuration and its stores to a gateway.

use std::sync::Arc;
#[cfg(feature = "postgres")]
use std::sync::Weak;

use crate::admin::{AdminService, AdminStores};
use crate::auth::AuthLayer;
use crate::base::clock::{Clock, Timestamp};
use crate::base::host::Host;
#[cfg(feature = "postgres")]
use crate::base::log;
use crate::domain::key::KeyRecord;
use crate::domain::limit::Limit;
use crate::domain::limit_book::LimitBook;
use crate::domain::webhook::Endpoint;
use crate::gateway::{Gateway, GatewayBuilder};
use crate::http::vendor::VendorClient;
use crate::jobs::{JobRules, VideoJobs};
use crate::provider::codec::codec;
use crate::provider::registry::Registry;
use crate::provider::traits::Target;
use crate::store::error::StoreError;
use crate::store::keys::{KeyAdmin, KeyStore};
#[cfg(feature = "postgres")]
use crate::store::postgres::PostgresStore;
use crate::store::tables::LimitStore;
use crate::store::webhooks::{ConfiguredEndpoints, EndpointStore};
use crate::webhook::Webhooks;

use super::file_keys::FileKeys;
use super::stores::Stores;
use super::{Config, ConfigError};

impl Config {
    /// The models of the configuration, each with its way to its vendor.
    pub fn registry(&self) -> Result<Registry, ConfigError> {
        let targets = self.models.iter().map(|model| {
            let path = || format!("models.{:?}", &*model.terms.id);
            let provider = self.providers.iter().find(|p| p.name == model.provider);
            let provider = provider.ok_or_else(|| ConfigError::new(path(), "names no provider of this file"))?;
            Ok(Target {
                provider: Arc::clone(&provider.name),
                codec: codec(provider.kind),
                base_url: provider.base_url.clone().into(),
                credential: Arc::new(provider.credential.clone()),
                upstream: Arc::clone(&model.upstream),
                terms: Arc::new(model.terms.clone()),
                timeouts: provider.timeouts,
                content_hosts: Arc::clone(&provider.content_hosts),
            })
        });
        let targets = targets.collect::<Result<Vec<_>, ConfigError>>()?;
        Registry::new(targets).map_err(|why| ConfigError::new("models", why))
    }

    /// The endpoints of the file, and behind them what is stored.
    fn endpoints(&self, stored: Arc<dyn EndpointStore>, now: Timestamp) -> Arc<dyn EndpointStore> {
        let fixed = self.webhooks.iter().enumerate().map(|(number, webhook)| {
            let endpoint = Endpoint {
                id: format!("config_{}", number + 1).into(),
                workspace: webhook.workspace.clone(),
                url: webhook.url.to_string().into(),
                events: webhook.events.clone(),
                allow_private: webhook.allow_private,
                created_at: now,
                disabled: false,
            };
            (endpoint, webhook.secrets.clone())
        });
        Arc::new(ConfiguredEndpoints::new(fixed.collect(), stored))
    }

    fn job_rules(&self) -> JobRules {
        let base = self.gateway.public_base_url.as_ref();
        JobRules {
            poll: self.jobs.poll,
            max_poll: self.jobs.max_poll,
            deadline: self.jobs.deadline,
            on_unknown: self.jobs.on_unknown,
            public_base_url: base.map(|url| url.to_string().trim_end_matches('/').to_owned()),
        }
    }

    /// A gateway with everything that the configuration says, but for what only the host can decide: the
    /// [`Drain`](crate::Drain) for `on_disconnect = "drain"`, and the [`Closing`](crate::Closing) switch.
    ///
    /// Puts the keys of the file into the store, and both the file's and the stored limits in force. Beside the builder
    /// come the video jobs, which are in it already, and the webhooks: the host spawns what both of them drive.
    pub async fn gateway<C: VendorClient>(
        &self,
        stores: Stores,
        client: C,
        host: impl Host + Clone,
        clock: Arc<dyn Clock>,
    ) -> Result<(GatewayBuilder<C>, VideoJobs, Webhooks), StoreError> {
        for key in &self.keys {
            let key = KeyRecord { created_at: clock.now(), ..key.clone() };
            stores.key_admin.insert(key).await?;
        }
        let book = Arc::new(LimitBook::default());
        load(&book, &self.limits, &*stores.limits).await?;
        #[cfg(feature = "postgres")]
        if let Some(shared) = &stores.behind.shared {
            tokio::spawn(follow(Arc::downgrade(&book), self.limits.clone(), Arc::clone(shared)));
        }
        let registry = self.registry().map_err(|e| StoreError::unavailable(e.to_string()))?;
        let keys = FileKeys::<dyn KeyStore>::new(&self.keys, stores.keys);
        let mut auth = AuthLayer::new(keys).cache_for(self.gateway.key_cache).clock(Arc::clone(&clock));
        if let Some(pepper) = stores.behind.pepper {
            auth = auth.pepper(pepper);
        }
        let endpoints = self.endpoints(stores.endpoints, clock.now());
        let webhooks = Webhooks::new(client.clone(), Arc::clone(&stores.outbox), Arc::clone(&endpoints), host.clone())
            .schedule(self.delivery.schedule.clone())
            .timeout(self.delivery.timeout)
            .clock(Arc::clone(&clock));
        stores.alerts.announce_to(webhooks.clone());
        let jobs = VideoJobs::new(registry.clone(), client.clone(), stores.jobs, Arc::clone(&stores.sink), host)
            .rules(self.job_rules())
            .webhooks(webhooks.clone())
            .quota(Arc::clone(&stores.quota))
            .clock(Arc::clone(&clock));
        jobs.resume().await?;
        let mut builder = Gateway::builder(registry, client)
            .auth(auth)
            .videos(jobs.clone())
            .ledger_parts(stores.sink, Arc::clone(&stores.usage))
            .quota(Arc::clone(&stores.quota), Arc::clone(&book))
            .on_store_failure(self.storage.on_store_failure)
            .abandoned(self.gateway.abandoned)
            .max_body_bytes(self.gateway.max_body_bytes)
            .clock(Arc::clone(&clock));
        if let Some(admin) = &self.admin {
            let stores = AdminStores {
                keys: Arc::new(FileKeys::<dyn KeyAdmin>::new(&self.keys, stores.key_admin)),
                limits: stores.limits,
                book,
                quota: stores.quota,
                usage: stores.usage,
                alerts: Arc::new(stores.alerts),
                audit: stores.audit,
                endpoints,
                outbox: stores.outbox,
            };
            builder = builder.admin(AdminService::new(admin.token.clone(), stores, clock));
        }
        Ok((builder, jobs, webhooks))
    }
}

/// Puts the file's limits and the stored ones in force.
async fn load(book: &LimitBook, file: &[Limit], stored: &dyn LimitStore) -> Result<(), StoreError> {
    let stored = stored.all().await?;
    book.load(file.iter().cloned().chain(stored)).map_err(StoreError::unavailable)
}

/// Reads the limits anew whenever another instance may have set some, for as long as the book is in use.
#[cfg(feature = "postgres")]
async fn follow(book: Weak<LimitBook>, file: Vec<Limit>, store: Arc<PostgresStore>) {
    let mut seen = 0;
    loop {
        seen = store.limits_changed(seen).await;
        let Some(book) = book.upgrade() else { return };
        if let Err(error) = load(&book, &file, &*store).await {
            log::store_failed("the limits of other instances cannot be read", &error);
        }
    }
}
