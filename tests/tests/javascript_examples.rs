//! The examples in JavaScript, run as their READMEs say.

use e2e::http::{Answer, Client};
use e2e::javascript::{Project, Server};
use e2e::pserve::{Pserve, Site};
use serde_json::{Value, json};

const KEY: &str = "the-key";

fn service() -> (Site, Pserve) {
    let site = Site::new();
    site.ini(&format!(
        "[auth]\napikey={KEY}\n[plugin_parms]\nsessman=backend=memory&admin_key=the-admin-key"
    ));
    let pserve = site.start();
    (site, pserve)
}

/// `node` in an example's folder, with the arguments of its README.
fn node(project: &Project, pserve: &Pserve, example: &str) -> std::process::Command {
    let folder = project.path("examples").join(example);
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let command = readme.lines().find_map(|line| line.strip_prefix("node ")).expect("a command");
    let mut node = project.node(&format!("http://{}/sessman", pserve.address()), KEY);
    node.current_dir(folder).env("PORT", "0").args(command.split(' '));
    node
}

/// A visitor whose browser keeps one cookie.
struct Visitor {
    client: Client,
    cookie: String,
}

impl Visitor {
    fn send(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let client = self.client.with("Content-Type", "application/json").with("Cookie", &self.cookie);
        let answer = client.send(method, path, body);
        if let Some(set) = answer.header("set-cookie") {
            set.split(';').next().unwrap().clone_into(&mut self.cookie);
        }
        answer
    }

    fn get(&mut self, path: &str) -> Value {
        let answer = self.send("GET", path, "");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    #[allow(clippy::needless_pass_by_value, reason = "callers write json!(..)")]
    fn post(&mut self, path: &str, body: Value) -> Value {
        let answer = self.send("POST", path, &body.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }
}

fn visitor(url: &str) -> Visitor {
    Visitor { client: Client::new(url), cookie: String::new() }
}

#[test]
fn a_cart_survives_login() {
    let Some(project) = Project::new("a_cart_survives_login") else { return };
    let (_site, pserve) = service();
    let (_server, url) = Server::start(&mut node(&project, &pserve, "anonymous-cart"));
    let mut one = visitor(&url);
    assert_eq!(one.get("/cart"), json!({ "user": null, "cart": [] }));
    assert_eq!(one.post("/cart", json!({ "item": "book" }))["cart"], json!(["book"]));
    let before = one.cookie.clone();
    assert_eq!(one.post("/login", json!({ "name": "ada" })), json!({ "user": "ada", "cart": ["book"] }));
    assert_ne!(one.cookie, before);
    assert_eq!(
        one.post("/cart", json!({ "item": "pen" })),
        json!({ "user": "ada", "cart": ["book", "pen"] })
    );
    // Whoever knew the id from before has nothing.
    let mut thief = visitor(&url);
    thief.cookie = before;
    assert_eq!(thief.get("/cart"), json!({ "user": null, "cart": [] }));
    assert_eq!(one.get("/cart"), json!({ "user": "ada", "cart": ["book", "pen"] }));
}

#[test]
fn no_move_of_a_game_is_lost() {
    let Some(project) = Project::new("no_move_of_a_game_is_lost") else { return };
    let (_site, pserve) = service();
    let output = node(&project, &pserve, "game").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["pot"], 40, "{told}");
    let moves = told["moves"].as_object().unwrap();
    assert!(moves.len() == 4 && moves.values().all(|moves| moves == 10), "{told}");
    assert!(told["tries"].as_u64() >= Some(40), "{told}");
}

#[test]
fn a_shop_with_express_session_has_login_cart_and_logout() {
    let Some(project) = Project::new("a_shop_with_express_session_has_login_cart_and_logout") else { return };
    let (_site, pserve) = service();
    let (_server, url) = Server::start(&mut node(&project, &pserve, "express-shop"));
    let mut one = visitor(&url);
    assert_eq!(one.send("GET", "/account", "").status, 401);
    one.post("/cart", json!({ "item": "book" }));
    let before = one.cookie.clone();
    assert_eq!(one.post("/login", json!({ "name": "ada" })), json!({ "user": "ada", "cart": ["book"] }));
    assert_ne!(one.cookie, before);
    one.post("/cart", json!({ "item": "pen" }));
    assert_eq!(one.get("/account"), json!({ "name": "ada" }));
    assert_eq!(one.get("/cart")["cart"], json!(["book", "pen"]));

    // Two devices of hers; an administrator sees both, and no id.
    let mut two = visitor(&url);
    two.post("/login", json!({ "name": "ada" }));
    let admin = pserve.client().with("X-Custom-Auth", KEY).with("X-Admin-Key", "the-admin-key");
    let listed = admin.get("/sessman/list?user_id=ada").expect(200);
    assert_eq!(listed.json()["sessions"].as_array().unwrap().len(), 2, "{listed:?}");

    let kept = one.cookie.clone();
    assert_eq!(one.post("/logout", json!({})), json!({ "user": null }));
    for cookie in [before, kept] {
        one.cookie = cookie;
        assert_eq!(one.send("GET", "/account", "").status, 401);
        assert_eq!(one.get("/cart"), json!({ "user": null, "cart": [] }));
    }
    assert_eq!(two.get("/account"), json!({ "name": "ada" }));
    admin.post("/sessman/end-user", json!({ "user_id": "ada" })).expect(200);
    assert_eq!(two.send("GET", "/account", "").status, 401);
}
