//! Who the client is, with an nginx in front and without one.

use std::process::Command;

use e2e::http::Client;
use e2e::nginx::Nginx;
use e2e::pserve::Site;
use e2e::tls::{curl, make_pair};
use serde_json::{Value, json};

fn site(network: &str, trusted: &str) -> Site {
    let site = Site::new();
    make_pair(&site, "a");
    site.ini(&format!(
        "[network]\nport=0\n{network}\n[proxy]\ntrusted={trusted}\n[log]\naccess=true\n\
         [plugin_parms]\nsessman=backend=memory&auth_type=none\n"
    ));
    site
}

/// Where a plugin takes the client to be.
fn client_ip(client: &Client) -> Value {
    client.post("/sessman/new", json!({})).expect(201).json()["metadata"]["client_ip"].clone()
}

/// The same, from another address of this machine.
fn client_ip_from(source: &str, address: &str, headers: &[&str]) -> Value {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "60", "--interface", source, "-d", "{}"]);
    for header in headers {
        command.args(["-H", header]);
    }
    let output = command.arg(format!("http://{address}/sessman/new")).output().expect("curl runs");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert!(json["session_id"].is_string(), "{json}");
    json["metadata"]["client_ip"].clone()
}

#[test]
fn forged_headers_have_no_effect_directly() {
    let site = site("", "192.0.2.0/24");
    let pserve = site.start();
    let forged = pserve
        .client()
        .with("X-Forwarded-For", "6.6.6.6")
        .with("X-Forwarded-Proto", "https")
        .with("X-Forwarded-Host", "example.org")
        .with("Forwarded", "for=6.6.6.6;proto=https;host=example.org");
    assert_eq!(client_ip(&forged), "127.0.0.1");
    let cookie = forged.post("/sessman/new", json!({})).expect(201);
    assert!(!cookie.header("set-cookie").unwrap().contains("Secure"), "{cookie:?}");
    assert!(!pserve.log().contains("6.6.6.6"));
}

#[test]
fn a_trusted_peer_is_believed_from_right_to_left() {
    let site = site("", "list:127.0.0.1 10.0.0.0/8");
    let pserve = site.start();
    let client = pserve.client();
    for (header, line, found) in [
        ("X-Forwarded-For", "1.2.3.4", "1.2.3.4"),
        ("X-Forwarded-For", "6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
        ("X-Forwarded-For", "1.2.3.4, garbage", "127.0.0.1"),
        ("Forwarded", "for=6.6.6.6, for=\"[2001:db8::7]:1234\", for=10.0.0.2", "2001:db8::7"),
    ] {
        assert_eq!(client_ip(&client.with(header, line)), found, "{line}");
    }
    let both = client.with("X-Forwarded-For", "1.2.3.4").with("Forwarded", "for=1.2.3.4");
    let error = both.post("/sessman/new", json!({})).expect(400).member("error");
    assert!(error.contains("both Forwarded and X-Forwarded"), "{error}");
    // Nobody else on this machine is that proxy.
    assert_eq!(client_ip_from("127.0.0.2", pserve.address(), &["X-Forwarded-For: 6.6.6.6"]), "127.0.0.2");
    pserve.wait_for_log("1.2.3.4");
}

#[test]
fn what_is_open_by_default_is_not_open_to_what_a_trusted_proxy_passes_on() {
    let site = Site::new();
    site.ini("[proxy]\ntrusted=127.0.0.1\n[plugin_parms]\nsessman=backend=memory\n");
    let client = site.start();
    client.client().post("/sessman/new", json!({})).expect(403);
}

#[test]
fn behind_nginx_the_client_is_the_one_that_nginx_sees() {
    let site = site("", "127.0.0.1");
    let pserve = site.start();
    let nginx = Nginx::start(&site, &format!("http://{}", pserve.address()));
    assert_eq!(client_ip_from("127.0.0.2", &nginx.http, &[]), "127.0.0.2");
    for forged in ["6.6.6.6", "127.0.0.1", "6.6.6.6, 127.0.0.1", "garbage", "\"", ","] {
        let header = format!("X-Forwarded-For: {forged}");
        assert_eq!(client_ip_from("127.0.0.2", &nginx.http, &[&header]), "127.0.0.2", "{forged}");
    }
    // nginx passes Forwarded on as the client wrote it.
    let client = Client::new(&format!("http://{}", nginx.http));
    client.with("Forwarded", "for=6.6.6.6;proto=https").post("/sessman/new", json!({})).expect(400);

    // A cookie is for https alone if the client used it, whatever nginx uses.
    let cookie = |text: &str| {
        let line = text.lines().find(|line| line.to_lowercase().starts_with("set-cookie:"));
        line.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    let certificate = site.path("a.pem");
    let new = |url: &str, headers: &[&str]| {
        let output = curl(&certificate, &[&["-i", "-d", "{}", url], headers].concat());
        String::from_utf8(output.stdout).unwrap()
    };
    let (http, https) = (format!("http://{}", nginx.http), format!("https://{}", nginx.https));
    assert!(!cookie(&new(&format!("{http}/sessman/new"), &[])).contains("Secure"));
    assert!(cookie(&new(&format!("{https}/sessman/new"), &[])).contains("; Secure"));
    // A page of that origin is at home, one of the same host without TLS is not.
    let own = new(&format!("{https}/sessman/new"), &["-H", &format!("Origin: {https}")]);
    assert!(own.contains(" 201 "), "{own}");
    let other = new(&format!("{https}/sessman/new"), &["-H", &format!("Origin: http://{}", nginx.https)]);
    assert!(other.contains(" 403 "), "{other}");
}

#[test]
fn a_proxy_on_the_unix_socket_is_trusted_by_its_word() {
    for (trusted, found) in [("unix", json!("127.0.0.2")), ("10.0.0.0/8", Value::Null)] {
        let site = site("unix_socket=s.sock", trusted);
        let _pserve = site.start();
        let nginx = Nginx::start(&site, &format!("http://unix:{}:", site.path("s.sock").display()));
        let header = "X-Forwarded-For: 6.6.6.6";
        assert_eq!(client_ip_from("127.0.0.2", &nginx.http, &[header]), found, "{trusted}");
    }
}
