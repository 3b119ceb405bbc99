//! The OpenAPI description, and whether the service does what it says.

use e2e::http::Client;
use e2e::pserve::Site;
use e2e::schemathesis;
use serde_json::{Value, json};

fn description(client: &Client) -> Value {
    client.get("/sessman/openapi.json").expect(200).json()
}

#[test]
fn the_description_is_open_to_everybody_and_names_every_route() {
    let site = Site::new();
    site.ini("[auth]\napikey=k\n[plugin_parms]\nsessman=backend=memory");
    let pserve = site.start();
    let description = description(&pserve.client());
    assert_eq!(description["openapi"], "3.1.0");
    assert_eq!(description["servers"][0]["url"], "/sessman");
    let plugins = pserve.client().with("X-Custom-Auth", "k").get("/plugins").expect(200).json();
    let routes = plugins["instances"][0]["routes"].as_array().unwrap();
    assert!(routes.len() > 15);
    for route in routes {
        let path = route["path"].as_str().unwrap().strip_prefix("/sessman").unwrap();
        let methods = route["methods"].as_array().unwrap().iter().map(|method| method.as_str().unwrap());
        for method in methods.filter(|method| *method != "*") {
            let method = method.to_lowercase();
            let responses = &description["paths"][path][&method]["responses"];
            assert!(responses["503"].is_object(), "{method} {path}: {responses}");
        }
    }
}

#[test]
fn answers_are_as_described() {
    if !schemathesis::is_installed() {
        e2e::skip("answers_are_as_described", "the Python package schemathesis is not installed");
        return;
    }
    let said = schemathesis::run(&json!({ "backend": "memory" }), 3);
    said.unwrap_or_else(|said| panic!("{said}"));
}
