//! What a caller with a good key reaches: model routes, the models list, usage and requests.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::admin::own_usage;
use crate::base::error::{Code, Error};
use crate::domain::caller::Caller;
use crate::domain::endpoint::Endpoint;
use crate::http::body::{CallBody, ResponseBody};
use crate::http::reply::ReplyTo;
use crate::inspect::InspectService;
use crate::metering::MeteringService;
use crate::provider::registry::Registry;
use crate::quota::QuotaService;
use crate::route::{ProviderRouteService, VendorClient, models_reply};
use crate::store::ledger::UsageStore;

type Models<C> = MeteringService<InspectService<QuotaService<ProviderRouteService<C>>>>;
type ModelsBody<C> = <<Models<C> as Service<Request<CallBody>>>::Response as Wrapped>::Body;
type Reply = Response<ResponseBody<CallBody>>;
