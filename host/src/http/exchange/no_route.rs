//! The answer to a path that matches no route now.

use hyper::Response;

use crate::http::control::snapshot::Snapshot;
use crate::http::message::problem::{ProblemType, problem, retry_later};
use crate::http::message::response::AnswerBody;
use crate::text::join_names;

/// Lists the paths that exist, and says whether this one may come back.
pub(super) fn no_route(snapshot: &Snapshot, path: &str) -> Response<AnswerBody> {
    let below =
        |mount: &str| path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let instance = snapshot
        .instances()
        .filter(|instance| below(instance.mount()))
        .max_by_key(|instance| instance.mount().len());
    if let Some(instance) = instance {
        let routes = join_names(instance.routes.iter().map(|route| route.path.as_str()));
        let detail = format!("no such route; `{}` has {routes}", instance.name);
        return problem(ProblemType::NoRoute, &detail);
    }
    // Not a 404: a client would take it for an answer about the resource that it asked for.
    let failed = snapshot.failures.iter().find(|failure| failure.mount.as_deref().is_some_and(below));
    if let Some(failure) = failed {
        return retry_later(
            ProblemType::InstanceUnavailable,
            &format!("`{}` could not be loaded; the log says why", failure.name),
        );
    }
    if let Some(unloaded) = snapshot.unloaded.iter().find(|unloaded| below(&unloaded.mount)) {
        return retry_later(ProblemType::InstanceUnavailable, &format!("`{}` is unloaded", unloaded.name));
    }
    let mounts: Vec<String> = snapshot.instances().map(|instance| format!("{}/", instance.mount())).collect();
    let detail = match mounts.as_slice() {
        [] => "no such route; no plugin is loaded".to_owned(),
        mounts => format!("no such route; there are routes below {}", mounts.join(", ")),
    };
    problem(ProblemType::NoRoute, &detail)
}
