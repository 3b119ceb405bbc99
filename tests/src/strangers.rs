//! Another machine, as far as a server can tell: a network namespace with an address of its own.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd as _;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A namespace that reaches this machine; it goes when this is dropped.
pub struct Strangers {
    name: String,
    /// This machine, as it is seen from there.
    pub host: IpAddr,
}

impl Strangers {
    /// Makes one.
    ///
    /// # Errors
    /// Why none can be made here.
    pub fn new() -> io::Result<Self> {
        let number = std::process::id() % 250;
        let name = format!("pserve-{number}");
        let (here, there) = (format!("ps{number}a"), format!("ps{number}b"));
        let subnet = u8::try_from(number).unwrap_or_default();
        let strangers = Self { name: name.clone(), host: Ipv4Addr::new(10, 231, subnet, 1).into() };
        ip(&["netns", "add", &name])?;
        ip(&["link", "add", &here, "type", "veth", "peer", "name", &there, "netns", &name])?;
        ip(&["addr", "add", &format!("10.231.{subnet}.1/24"), "dev", &here])?;
        ip(&["link", "set", &here, "up"])?;
        ip(&["-n", &name, "addr", "add", &format!("10.231.{subnet}.2/24"), "dev", &there])?;
        ip(&["-n", &name, "link", "set", &there, "up"])?;
        Ok(strangers)
    }

    /// From now on this thread, and what it starts, is there.
    ///
    /// # Panics
    /// When it cannot go there.
    pub fn enter(&self) {
        let namespace = File::open(format!("/run/netns/{}", self.name)).expect("the namespace");
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("a way in");
    }
}

impl Drop for Strangers {
    fn drop(&mut self) {
        // Its end of the pair goes with it, and so does the other one.
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> io::Result<()> {
    let output = Command::new("ip").args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
