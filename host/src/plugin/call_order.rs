//! Who calls whom: loops, and the order in which instances stop.

use std::sync::Arc;

use super::Instance;

/// Whether `caller` may call `called`, directly.
pub(crate) fn may_call(caller: &Instance, called: &Instance) -> bool {
    caller.calls.permissions.iter().any(|permission| permission.instance == called.name)
}

/// Whether calls of the instance named `name` can come back to it.
pub(crate) fn is_in_loop(name: &str, instances: &[Arc<Instance>]) -> bool {
    let edges: Vec<_> = instances.iter().map(|instance| (&*instance.name, called_by(instance))).collect();
    reached(name, &edges).contains(&name)
}

/// The instances in groups: each calls only those of later groups, be it around others of `all`.
pub(crate) fn callers_first<'a>(
    instances: &[&'a Arc<Instance>],
    all: &[&Arc<Instance>],
) -> Vec<Vec<&'a Arc<Instance>>> {
    let known = instances.iter().chain(all);
    let edges: Vec<_> = known.map(|instance| (&*instance.name, called_by(instance))).collect();
    let names: Vec<&str> = instances.iter().map(|instance| &*instance.name).collect();
    let place = |name: &str| instances.iter().position(|instance| instance.name == name);
    let groups = grouped(&names, &edges);
    groups
        .into_iter()
        .map(|group| group.into_iter().filter_map(place).map(|at| instances[at]).collect())
        .collect()
}

fn called_by(instance: &Instance) -> Vec<&str> {
    instance.calls.permissions.iter().map(|permission| permission.instance.as_str()).collect()
}

/// A name, and the names that it calls.
type Edges<'a> = (&'a str, Vec<&'a str>);

fn grouped<'a>(names: &[&'a str], edges: &[Edges<'a>]) -> Vec<Vec<&'a str>> {
    let mut left = names.to_vec();
    let mut groups = Vec::new();
    while !left.is_empty() {
        let is_called =
            |name: &&str| left.iter().any(|other| other != name && reached(other, edges).contains(name));
        let (called, free): (Vec<&str>, Vec<&str>) = left.iter().copied().partition(|name| is_called(name));
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

/// All that `start` calls, directly or around.
fn reached<'a>(start: &str, edges: &[Edges<'a>]) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    let mut open: Vec<&str> = vec![start];
    while let Some(name) = open.pop() {
        for called in edges.iter().filter(|(caller, _)| *caller == name).flat_map(|(_, called)| called) {
            if !found.contains(called) {
                found.push(called);
                open.push(called);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_come_before_whom_they_call_around_others_too() {
        let edges = [("a", vec!["b"]), ("b", vec!["c"]), ("d", vec!["c"]), ("c", vec![]), ("e", vec!["e"])];
        assert_eq!(grouped(&["c", "b", "a", "d"], &edges), [vec!["a", "d"], vec!["b"], vec!["c"]]);
        assert_eq!(grouped(&["c", "a"], &edges), [vec!["a"], vec!["c"]]);
        assert_eq!(grouped(&[], &edges), Vec::<Vec<&str>>::new());
        assert!(reached("e", &edges).contains(&"e") && !reached("a", &edges).contains(&"a"));
    }
}
