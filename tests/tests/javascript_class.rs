//! What the JavaScript class of the original host sends, sent by Node, with and without a key.

use std::process::Command;

use e2e::on_every_store;
use e2e::pserve::{Pserve, Site};
use e2e::store::Store;
use serde_json::Value;

on_every_store!(the_original_class_is_served);

fn the_original_class_is_served(_: Store, config: Value) {
    let site = Site::new();
    site.sessman(&config.to_string());
    node(&site.start(), &[]);

    site.ini("[auth]\napikey=the-key\n[plugin_parms]\nsessman=json=sessman.json");
    let pserve = site.start();
    node(&pserve, &["the-key"]);
    pserve.client().send("POST", "/sessman/new?user=someone", "").expect(401);
}

fn node(pserve: &Pserve, arguments: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/javascript_class.mjs");
    let output = Command::new("node")
        .arg(script)
        .arg(format!("http://{}/sessman", pserve.address()))
        .args(arguments)
        .output()
        .expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
