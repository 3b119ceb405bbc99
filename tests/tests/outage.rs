//! MongoDB away at the start and during a run.

use std::time::{Duration, Instant};

use e2e::http::Client;
use e2e::pserve::{Site, eventually};
use e2e::standin::StandIn;
use serde_json::json;

#[test]
fn mongodb_away_is_a_503_in_time_and_service_comes_back_by_itself() {
    let Some(mongo) = StandIn::start("mongodb_away", 0) else { return };
    let port = mongo.port();
    drop(mongo);
    let site = Site::new();
    site.sessman(&json!({ "server_url": format!("127.0.0.1:{port}") }).to_string());

    // Away at the start.
    let pserve = site.start();
    let client = pserve.client();
    is_away(&client);
    let mongo = StandIn::start("mongodb_away", port).expect("it was there before");
    comes_back(&client);

    // Away during a run.
    let id = client.post("/sessman/new", json!({ "user": "ada" })).expect(201).member("session_id");
    client.get(&format!("/sessman/get?token={id}")).expect(200);
    drop(mongo);
    is_away(&client);
    let _mongo = StandIn::start("mongodb_away", port).expect("it was there before");
    comes_back(&client);
    // The stand-in forgets what it held; a new session works.
    client.get(&format!("/sessman/get?token={id}")).expect(404);
    let id = client.post("/sessman/new", json!({})).expect(201).member("session_id");
    client.get(&format!("/sessman/get?token={id}")).expect(200);
}

fn is_away(client: &Client) {
    let id = "A".repeat(48);
    let requests = [
        ("/sessman/new", json!({})),
        ("/sessman/get", json!({ "token": id })),
        ("/sessman/update", json!({ "token": id, "data": 1 })),
        ("/sessman/touch", json!({ "token": id })),
        ("/sessman/validate", json!({ "token": id })),
        ("/sessman/end", json!({ "token": id })),
    ];
    for (path, body) in requests {
        let started = Instant::now();
        let answer = client.post(path, body).expect(503);
        // Two seconds are promised; the rest is for a machine that does other things too.
        assert!(started.elapsed() < Duration::from_secs(5), "{path}: {:?}", started.elapsed());
        assert!(answer.header("retry-after").unwrap().parse::<u32>().is_ok(), "{answer:?}");
    }
    client.get("/readyz").expect(503);
    client.get("/healthz").expect(200);
}

fn comes_back(client: &Client) {
    eventually("ready again", || client.get("/readyz").status == 200);
    client.post("/sessman/new", json!({})).expect(201);
}
