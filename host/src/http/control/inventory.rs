//! The loaded instances, as shown by `/plugins` and `pserve plugins`.

use plugin_api::Class;
use serde_json::{Value, json};

use super::snapshot::{Mount, Snapshot};
use crate::http::gate::access::Access;

/// The loaded instances, in the form of `/plugins`.
pub(crate) fn plugins(snapshot: &Snapshot) -> Value {
    let plugins: Vec<Value> = snapshot
        .files
        .iter()
        .map(|(file, library)| {
            json!({
                "name": library.name,
                "version": library.version,
                "plugin_api": library.api_version,
                "file": file,
                "sha256": library.sha256,
            })
        })
        .collect();
    let unloaded = snapshot
        .unloaded
        .iter()
        .map(|unloaded| json!({ "name": unloaded.name, "state": "unloaded", "mount": unloaded.mount }));
    let instances: Vec<Value> = snapshot.mounts.iter().map(describe).chain(unloaded).collect();
    let failures = snapshot.failures.iter().map(|failure| (failure, "failed"));
    let failures: Vec<Value> = failures
        .chain(snapshot.missing.iter().map(|missing| (missing, "missing")))
        .map(|(failure, state)| json!({ "name": failure.name, "state": state, "reason": failure.reason }))
        .collect();
    json!({ "plugins": plugins, "instances": instances, "failures": failures })
}

fn describe(mount: &Mount) -> Value {
    let Mount { instance, access, .. } = mount;
    let routes: Vec<Value> = instance
        .routes
        .iter()
        .map(|route| {
            let class = class(route.class, access);
            json!({ "path": route.path, "methods": route.methods, "class": class })
        })
        .collect();
    let access = match access {
        Access::Open | Access::OpenByDefault => "none",
        Access::Keyed(_) => "key",
        Access::Session(_) => "session",
    };
    let mut description = json!({
        "name": instance.name,
        "plugin": instance.library.name,
        "version": instance.library.version,
        "plugin_api": instance.library.api_version,
        "sha256": instance.library.sha256,
        "state": instance.state().name(),
        "mount": instance.mount(),
        "access": access,
        "requests": instance.requests.get(),
        "routes": routes,
    });
    if let Some(reason) = instance.failure() {
        description["reason"] = reason.into();
    }
    description
}

/// The class of a route as the documentation names it. Behind a guard each route is for live sessions alone, whatever the plugin
/// says of it.
fn class(class: Class, access: &Access) -> &'static str {
    match (access, class) {
        (Access::Session(_), _) | (_, Class::Session) => "session",
        (_, Class::Public) => "public",
        (_, Class::Service) => "service",
        (_, Class::Admin) => "admin",
        (_, Class::ForwardAuth) => "forward-auth",
    }
}
