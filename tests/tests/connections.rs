//! Who gets a connection when one client has taken all that it can get.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::process::Command;
use std::time::Duration;

use e2e::artifacts;
use e2e::http::status;
use e2e::pserve::{Pserve, Site};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
const GREEDY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

fn start(limits: &str) -> (Site, Pserve) {
    let site = Site::new();
    site.ini(&format!("[limits]\nmax_connections=200\n{limits}\n[plugin_parms]\nsessman=backend=memory\n"));
    let pserve = site.start();
    (site, pserve)
}

/// A connection from this address.
fn from(address: Ipv4Addr, pserve: &Pserve) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddrV4::new(address, 0)).unwrap();
    connect(&socket, &pserve.address().parse::<SocketAddrV4>().unwrap()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Whether a request is answered.
fn is_answered(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 4096];
    let length = stream.write_all(HEALTH).and_then(|()| stream.read(&mut answer)).unwrap_or_default();
    status(&String::from_utf8_lossy(&answer[..length])) == Some(200)
}

/// Everybody else, and whoever asks how the host is.
fn others_are_served(site: &Site, pserve: &Pserve) {
    let others: Vec<TcpStream> = (0..20).map(|_| from(OTHER, pserve)).collect();
    for mut stream in others {
        assert!(is_answered(&mut stream));
    }
    let mut health = Command::new(artifacts().join("pserve"));
    health.arg("-i").arg(site.path("pserve.ini")).args(["healthcheck", "--live", "--timeout", "60"]);
    let health = health.args(["--address", pserve.address()]).output().unwrap();
    assert!(health.status.success(), "{health:?}");
}

#[test]
fn idle_connections_of_one_address_shut_out_nobody() {
    let (site, pserve) = start("keepalive_timeout=600");
    let mut idle: Vec<TcpStream> = Vec::new();
    for _ in 0..200 {
        let mut stream = from(GREEDY, &pserve);
        assert!(is_answered(&mut stream));
        idle.push(stream);
    }
    others_are_served(&site, &pserve);
    // Who had them still gets another.
    assert!(is_answered(&mut from(GREEDY, &pserve)));
}

#[test]
fn connections_of_one_address_that_send_a_request_slowly_shut_out_nobody() {
    let (site, pserve) = start("header_timeout=600");
    let mut slow: Vec<TcpStream> = Vec::new();
    for _ in 0..400 {
        let mut stream = from(GREEDY, &pserve);
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nX-Slow: ");
        slow.push(stream);
    }
    others_are_served(&site, &pserve);
    assert!(pserve.log().contains("a connection has no place"), "{}", pserve.log());
}
