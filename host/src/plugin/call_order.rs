//! Who calls whom: loops, and the order in which instances stop.

use std::sync::Arc;

use super::Instance;

/// The instances that `start` calls, directly or around, in the order in which they are found.
fn called_from<'a>(start: &'a str, calls: &impl Fn(&str) -> Vec<&'a str>) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    let mut open = vec![start];
    while let Some(name) = open.pop() {
        for called in calls(name) {
            if !found.contains(&called) {
                found.push(called);
                open.push(called);
            }
        }
    }
    found
}

/// Whether calls of the instance named `name` can come back to it.
pub(crate) fn is_in_loop(name: &str, instances: &[Arc<Instance>]) -> bool {
    called_from(name, &|name| calls_of(name, instances)).contains(&name)
}

fn calls_of<'a>(name: &str, instances: &'a [Arc<Instance>]) -> Vec<&'a str> {
    let instance = instances.iter().find(|instance| instance.name == name);
    let permissions = instance.into_iter().flat_map(|instance| instance.calls.permissions.iter());
    permissions.map(|permission| permission.instance.as_str()).collect()
}

/// The instances in groups: each calls only those of later groups.
pub(crate) fn callers_first<'a>(instances: &[&'a Arc<Instance>]) -> Vec<Vec<&'a Arc<Instance>>> {
    let mut left: Vec<&Arc<Instance>> = instances.to_vec();
    let mut groups = Vec::new();
    while !left.is_empty() {
        let is_called = |name: &str| {
            left.iter()
                .any(|other| other.calls.permissions.iter().any(|permission| permission.instance == name))
        };
        let (called, free): (Vec<_>, Vec<_>) = left.iter().partition(|instance| is_called(&instance.name));
        if free.is_empty() {
            // A loop is refused when instances are mounted.
            groups.push(called);
            break;
        }
        groups.push(free);
        left = called;
    }
    groups
}
