//! What the service manager is told.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use e2e::pserve::Site;
use rustix::process::Signal;

/// The next message that is no sign of life.
fn state(manager: &UnixDatagram) -> String {
    loop {
        let message = message(manager);
        if message != "WATCHDOG=1" {
            return message;
        }
    }
}

fn message(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let length = manager.recv(&mut buffer).expect("a message");
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[test]
fn the_service_manager_follows_start_reload_and_stop() {
    let site = Site::new();
    site.ini("");
    let socket = site.path("manager");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let environment = [("NOTIFY_SOCKET", socket.to_str().unwrap()), ("WATCHDOG_USEC", "300000")];
    let pserve = site.try_start_with(&environment).unwrap();
    assert_eq!(message(&manager), "READY=1");
    assert_eq!(message(&manager), "WATCHDOG=1");
    assert_eq!(message(&manager), "WATCHDOG=1");
    pserve.signal(Signal::HUP);
    assert!(state(&manager).starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(state(&manager), "READY=1");
    // A configuration that cannot be used ends in the same state: the one before serves.
    site.ini("[network]\nport=nonsense");
    pserve.signal(Signal::HUP);
    assert!(state(&manager).starts_with("RELOADING=1"));
    assert_eq!(state(&manager), "READY=1");
    assert!(pserve.stop().success());
    assert_eq!(state(&manager), "STOPPING=1");
}
