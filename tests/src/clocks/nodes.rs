//! Hosts on one store, each with a clock of its own and an instance for each rule.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Setting, promises};
use crate::clock::WallClock;
use crate::http::{Answer, Client};
use crate::pserve::{Pserve, Site};
use crate::races::ADMIN_KEY;
use crate::store::Store;

/// How many sessions a user may have, and what happens to one more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// The instance that has it.
    pub(super) instance: &'static str,
    pub(super) limit: usize,
    /// Whether the oldest makes room; otherwise the newcomer is refused.
    pub(super) evicts: bool,
}

pub(super) const RULES: [Rule; 6] = [
    Rule { instance: "e1", limit: 1, evicts: true },
    Rule { instance: "e2", limit: 2, evicts: true },
    Rule { instance: "e3", limit: 3, evicts: true },
    Rule { instance: "r1", limit: 1, evicts: false },
    Rule { instance: "r2", limit: 2, evicts: false },
    Rule { instance: "r3", limit: 3, evicts: false },
];

/// Hosts that run.
pub(super) struct Nodes {
    nodes: Vec<Node>,
}

struct Node {
    client: Client,
    _pserve: Pserve,
    _site: Site,
    clock: WallClock,
}

impl Nodes {
    /// A host for each offset; `None`, and reported, where there is no libfaketime.
    pub(super) fn start(test: &str, config: &Value, setting: &Setting) -> Option<Self> {
        let start = |(number, offset): (usize, &i64)| {
            let site = setting.builds.get(number).map_or_else(Site::new, |build| Site::with_artifacts(build));
            let clock = WallClock::new(test, &site.path("clock"), *offset)?;
            let mut lines = String::new();
            let instances = RULES.map(|rule| (rule.instance, Some(rule)));
            for (instance, rule) in instances.into_iter().chain(promises::INSTANCES.map(|name| (name, None)))
            {
                let mut config = config.clone();
                config["admin_key"] = json!(ADMIN_KEY);
                config["cookie"] = json!(false);
                // Instances of all nodes with one name share what they keep, those with another name do not.
                let own = config["collection"]
                    .as_str()
                    .map_or(instance.into(), |name| format!("{name}-{instance}"));
                config["collection"] =
                    json!(if setting.store == Store::MongoDb { instance.to_owned() } else { own });
                if let Some(Rule { limit, evicts, .. }) = rule {
                    config["max_sessions_per_user"] = json!(limit);
                    config["on_limit"] = json!(if evicts { "evict_oldest" } else { "reject" });
                }
                site.write(&format!("{instance}.json"), config.to_string());
                // Writing to a String does not fail.
                let _ = writeln!(lines, "{instance}=plugin=sessman&json={instance}.json");
            }
            site.ini(&format!("[plugin_parms]\n{lines}"));
            let pserve = site
                .try_start_with(&clock.environment())
                .unwrap_or_else(|log| panic!("pserve did not start:\n{log}"));
            let client = pserve.client();
            client.get("/readyz").expect(200);
            Some(Node { client, _pserve: pserve, _site: site, clock })
        };
        Some(Self { nodes: setting.offsets.iter().enumerate().map(start).collect::<Option<_>>()? })
    }

    /// The node that has this number; there are as many as numbers.
    pub(super) fn client(&self, number: usize) -> &Client {
        &self.nodes[number % self.nodes.len()].client
    }

    pub(super) fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Sets the clock of the last node.
    pub(super) fn set_last(&self, offset: i64) {
        self.nodes[self.nodes.len() - 1].clock.set(offset);
    }

    /// Whether each node finds the session.
    pub(super) fn find(&self, instance: &str, id: &str) -> Vec<bool> {
        self.nodes.iter().map(|node| is_there(&node.client, instance, id)).collect()
    }

    /// How many sessions of the user each node lists.
    pub(super) fn listed(&self, instance: &str, user: &str) -> Vec<usize> {
        let list = |node: &Node| {
            let admin = node.client.with("X-Admin-Key", ADMIN_KEY);
            let list = admin.get(&format!("/{instance}/list?user_id={user}"));
            list.json()["sessions"].as_array().map_or(usize::MAX, Vec::len)
        };
        self.nodes.iter().map(list).collect()
    }

    /// Cleans up, on one node after the other, where sessions are said to be cleaned up.
    pub(super) fn clean_up_until(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            for node in &self.nodes {
                let admin = node.client.with("X-Admin-Key", ADMIN_KEY);
                for instance in RULES.map(|rule| rule.instance).iter().chain([&promises::CLEANED]) {
                    admin.post(&format!("/{instance}/cleanup"), json!({}));
                }
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Whether the node finds the session. What is not available is not there, either.
pub(super) fn is_there(client: &Client, instance: &str, id: &str) -> bool {
    read(client, instance, id).status == 200
}

pub(super) fn read(client: &Client, instance: &str, id: &str) -> Answer {
    client.get(&format!("/{instance}/get?token={id}"))
}
