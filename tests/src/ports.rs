//! Ports for servers that take no port 0, or whose port must be known before they start.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below what the kernel gives to connections and to who asks for port 0 (`ip_local_port_range`), so that neither takes it
/// before the server does, or while the server is started again.
const FIRST: u32 = 10_000;
const COUNT: u32 = 20_000;

/// How many were asked for.
static ASKED: AtomicU32 = AtomicU32::new(0);

/// A port of 127.0.0.1 that is free, another one each time.
///
/// # Panics
/// When none is free.
pub fn free() -> u16 {
    // Other programs that ask at the same time begin elsewhere.
    let begin = std::process::id().wrapping_mul(97);
    let numbers =
        (0..COUNT).map(|_| begin.wrapping_add(ASKED.fetch_add(1, Ordering::Relaxed)) % COUNT + FIRST);
    numbers
        .filter_map(|number| u16::try_from(number).ok())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port")
}
