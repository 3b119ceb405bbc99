//! What the host serves at one moment. A reload replaces it with another one.

use std::sync::Arc;

use plugin_api::abi::plugin::{CAPABILITY_AUTHENTICATE, CAPABILITY_AUTHENTICATE_UNKEYED};

use super::metrics::{Metrics, RouteMetrics};
use super::router::Router;
use crate::config::{Auth, Config};
use crate::http::gate::access::Access;
use crate::plugin::{Failure, Instance, Library, Loaded, Route, is_in_loop};
use crate::text::join_names;

/// What the host serves at one moment.
pub(crate) struct Snapshot {
    pub(crate) config: Arc<Config>,
    pub(crate) mounts: Vec<Mount>,
    /// Instances and plugins that failed, and why.
    pub(crate) failures: Vec<Failure>,
    /// Instances of plugins that are not installed, and why they are looked for.
    pub(crate) missing: Vec<Failure>,
    /// Sections of the INI file that have no effect; one line each.
    pub(crate) unused: Vec<String>,
    pub(crate) unloaded: Vec<Unloaded>,
    /// Files of the plugin directory that are not plugins, and why not.
    pub(crate) others: Vec<Failure>,
    /// Every plugin file, by its name, with its library.
    pub(crate) files: Vec<(String, Arc<Library>)>,
    router: Router<Target>,
}

/// An instance with its access rule.
#[derive(Debug)]
pub(crate) struct Mount {
    pub(crate) instance: Arc<Instance>,
    pub(crate) access: Access,
    /// The counters of the instance's routes, in their order; empty before [`Snapshot::count`].
    counters: Vec<Arc<RouteMetrics>>,
}

/// An instance that an operator unloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unloaded {
    pub(crate) name: String,
    pub(crate) mount: String,
}

/// The target of a path: indexes into the mounts, and into the instance's routes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    mount: usize,
    route: usize,
}

impl Snapshot {
    /// Mounts the loaded instances. An instance whose routes are in use, or whose guard is missing, becomes a failure.
    pub(crate) fn new(config: Arc<Config>, loaded: Loaded, unloaded: Vec<Unloaded>) -> Self {
        let Loaded { instances, mut failures, missing, unused, others, files } = loaded;
        let known: Vec<&str> = failures
            .iter()
            .chain(&missing)
            .map(|failure| failure.name.as_str())
            .chain(unloaded.iter().map(|unloaded| unloaded.name.as_str()))
            .chain(instances.iter().map(|instance| instance.name.as_str()))
            .collect();
        let wrong: Vec<Option<String>> =
            instances.iter().map(|instance| wrong_calls(instance, &instances, &known)).collect();
        let mut fail = |instance: &Instance, reason: String| {
            failures.push(Failure::of_instance(&instance.name, instance.mount(), reason));
        };
        let mut taken = Router::default();
        let mut admitted = Vec::new();
        for (instance, wrong) in instances.into_iter().zip(wrong) {
            if let Some(reason) = wrong {
                fail(&instance, reason);
                continue;
            }
            let conflict = instance.routes.iter().find_map(|route| taken.check(&route.path).err());
            if let Some(error) = conflict {
                fail(&instance, error.to_string());
                continue;
            }
            for route in &instance.routes {
                taken.add(&route.path, ());
            }
            admitted.push(instance);
        }
        let mut mounts = Vec::new();
        for instance in &admitted {
            let keeper = |named: Option<&str>| keeper(instance, named, &admitted, &config.auth);
            match Access::new(&instance.config.auth, &config.auth, keeper) {
                Ok(access) => {
                    mounts.push(Mount { instance: Arc::clone(instance), access, counters: Vec::new() })
                }
                Err(reason) => fail(instance, reason),
            }
        }
        let mut router = Router::default();
        for (mount, Mount { instance, .. }) in mounts.iter().enumerate() {
            for (route, Route { path, .. }) in instance.routes.iter().enumerate() {
                router.add(path, Target { mount, route });
            }
        }
        Self { config, mounts, failures, missing, unused, unloaded, others, files, router }
    }

    /// Attaches the counters of `metrics` to each route.
    pub(crate) fn count(&mut self, metrics: &Metrics) {
        for Mount { instance, counters, .. } in &mut self.mounts {
            let routes = instance.routes.iter();
            *counters = routes.map(|route| metrics.route(&instance.name, &route.path)).collect();
        }
    }

    /// The counters of a target of this snapshot.
    pub(crate) fn counters(&self, target: Target) -> Option<&RouteMetrics> {
        self.mounts.get(target.mount)?.counters.get(target.route).map(Arc::as_ref)
    }

    /// The instances that are mounted.
    pub(crate) fn instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.mounts.iter().map(|mount| &mount.instance)
    }

    /// The mount of the instance with this name.
    pub(crate) fn mount(&self, name: &str) -> Option<&Mount> {
        self.mounts.iter().find(|mount| mount.instance.name == name)
    }

    /// The target of a request's path.
    pub(crate) fn find(&self, path: &str) -> Option<Target> {
        self.router.find(path).copied()
    }

    /// The mount and the route of a target of this snapshot.
    pub(crate) fn target(&self, target: Target) -> Option<(&Mount, &Route)> {
        let mount = self.mounts.get(target.mount)?;
        Some((mount, mount.instance.routes.get(target.route)?))
    }
}

impl Target {
    /// Index into the instance's routes, in the plugin's order.
    pub(crate) fn route(self) -> u32 {
        u32::try_from(self.route).unwrap_or(u32::MAX)
    }
}

/// What is wrong with the calls that an instance's line allows.
fn wrong_calls(instance: &Instance, all: &[Arc<Instance>], known: &[&str]) -> Option<String> {
    let permissions = &instance.calls.permissions;
    if let Some(unknown) = permissions.iter().find(|permission| !known.contains(&&*permission.instance)) {
        let unknown = &unknown.instance;
        let others = known.iter().copied().filter(|name| *name != instance.name);
        let hint = match settings::nearest(unknown, others) {
            Some(near) => format!("; did you mean `{near}`?"),
            None => String::new(),
        };
        return Some(format!("calls: there is no instance `{unknown}`{hint}"));
    }
    is_in_loop(&instance.name, all).then(|| {
        "calls: it would call itself, directly or around: instances call each other in one direction"
            .to_owned()
    })
}

/// The instance whose sessions authorize requests to `instance`.
fn keeper(
    instance: &Instance,
    named: Option<&str>,
    all: &[Arc<Instance>],
    auth: &Auth,
) -> Result<String, String> {
    let keeps_sessions = |instance: &Instance| instance.capabilities() & CAPABILITY_AUTHENTICATE != 0;
    if keeps_sessions(instance) {
        return Err("auth_type=session cannot guard what keeps the sessions itself".to_owned());
    }
    let keepers: Vec<&Arc<Instance>> = all.iter().filter(|instance| keeps_sessions(instance)).collect();
    let names = || join_names(keepers.iter().map(|keeper| keeper.name.as_str()));
    let keeper = match (named, keepers.as_slice()) {
        (_, []) => return Err("auth_type=session: no instance that keeps sessions is loaded".to_owned()),
        (None, [keeper]) => keeper,
        (None, _) => {
            return Err(format!(
                "auth_type=session: several instances keep sessions; write session_plugin={}",
                names()
            ));
        }
        (Some(name), _) => keepers.iter().find(|keeper| keeper.name == name).ok_or_else(|| {
            format!(
                "auth_type=session: session_plugin `{name}` is not an instance that keeps sessions; {} do",
                names()
            )
        })?,
    };
    let is_keyed = matches!(
        Access::new(&keeper.config.auth, auth, |_| Err("it keeps the sessions itself".to_owned())),
        Ok(Access::Keyed(_))
    );
    if !is_keyed && keeper.capabilities() & CAPABILITY_AUTHENTICATE_UNKEYED == 0 {
        let name = &keeper.name;
        return Err(format!(
            "auth_type=session: `{name}` has no key, so anybody may make a session for any user; give it a key, or \
             write `allow_open_login=true` in the parameters of `{name}`"
        ));
    }
    Ok(keeper.name.clone())
}
