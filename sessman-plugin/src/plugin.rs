//! The plugin's life cycle: validated, activated, called, deactivated.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use plugin_api::abi::plugin::{CAPABILITY_AUTHENTICATE, CAPABILITY_AUTHENTICATE_UNKEYED};
use plugin_api::{Health, Host, Plugin, Principal, Request, Response, Route, Unavailable};
use serde_json::{Map, Value};
use sessman::config::{Config, Surroundings};
use sessman::error::with_sources;
use sessman::store::StoreError;

use crate::openapi;
use crate::parameters::Bounds;
use crate::principal::{self, Identity};
use crate::problem::{self, Problem};
use crate::problem_type::ProblemType;
use crate::routes;
use crate::service::Service;

/// One instance.
pub struct Sessman {
    host: Host,
    config: Config,
    /// Present between `activate` and `deactivate`.
    service: ArcSwapOption<Service>,
}

impl Sessman {
    fn service(&self) -> Option<Arc<Service>> {
        self.service.load_full()
    }
}

impl Plugin for Sessman {
    const NAME: &'static str = "sessman";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ANSWERS_NOW: bool = true;

    fn prepare(host: Host) -> Result<Self, String> {
        let members: Map<String, Value> = serde_json::from_str(host.config())
            .map_err(|_| "the configuration is not a JSON object".to_owned())?;
        let surroundings = Surroundings {
            instance: host.instance(),
            state_folder: host.state_folder(),
            environment: &|name| std::env::var(name).ok(),
        };
        let config = Config::read(&members, &surroundings)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        crate::log::forward_to(&host);
        Ok(Self { host, config, service: ArcSwapOption::empty() })
    }

    fn routes(&self) -> Vec<Route> {
        routes::registered(&self.config.access).iter().map(|spec| spec.route.clone()).collect()
    }

    fn capabilities(&self) -> u64 {
        match self.config.access.allow_open_login {
            true => CAPABILITY_AUTHENTICATE | CAPABILITY_AUTHENTICATE_UNKEYED,
            false => CAPABILITY_AUTHENTICATE,
        }
    }

    async fn activate(&self) -> Result<(), String> {
        let service = Service::start(&self.config, &self.host).await?;
        self.service.store(Some(Arc::new(service)));
        Ok(())
    }

    async fn deactivate(&self) -> Result<(), String> {
        if let Some(service) = self.service.swap(None) {
            service.stop().await;
        }
        Ok(())
    }

    async fn handle(&self, request: Request<'_>) -> Response {
        let Some(service) = self.service() else {
            return Problem::unavailable(ProblemType::InstanceInactive, "this instance is not active").into();
        };
        service.run(routes::answer(&service, request)).await
    }

    fn handle_now(&self, request: Request<'_>) -> Option<Response> {
        routes::answer_now(self.service.load().as_ref()?, request)
    }

    async fn authenticate(&self, request: Request<'_>) -> Result<Option<Principal>, Unavailable> {
        let service = self.service().ok_or(Unavailable)?;
        let carried = service.run(principal::of(&service, &request)).await;
        carried.map(Identity::principal).map_err(|error| {
            // The caller gets no reason; it is logged.
            problem::report(&error);
            Unavailable
        })
    }

    async fn metrics(&self) -> String {
        self.service().map(|service| service.metrics()).unwrap_or_default()
    }

    async fn openapi(&self) -> Option<String> {
        let cookie = self.config.cookie.as_ref().map(|cookie| cookie.name.as_str());
        let instance = openapi::Instance { cookie, bounds: Bounds::of(&self.config.rules), mount: "" };
        Some(openapi::document(&routes::ROUTES, &instance).to_string())
    }

    async fn health(&self) -> Health {
        let Some(service) = self.service() else {
            return Health::NotReady("not active".to_owned());
        };
        match service.run(service.sessions.ping()).await {
            Ok(()) => Health::Ready,
            // Still ready, because otherwise the requests that can be served would fail together with those that
            // cannot.
            Err(error @ StoreError::Partial(_)) => Health::ReadyInPart(with_sources(&error)),
            Err(error) => Health::NotReady(with_sources(&error)),
        }
    }
}
