//! Video jobs from create to downloaded bytes and a verified webhook, through the whole gateway.

#[cfg(feature = "sqlite")]
mod crash;
mod life;
mod money;
mod readings;
mod trouble;
mod vendors;
mod webhooks;
mod wire;
mod world;
