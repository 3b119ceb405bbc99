//! Reports the host's state to the service manager, usually systemd (sd_notify(3)).

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The connection to the service manager; without one nothing is sent.
#[derive(Default)]
pub(crate) struct Notifier {
    manager: Option<(UnixDatagram, SocketAddr)>,
    /// The watchdog's timeout.
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Configured by `NOTIFY_SOCKET` and, for the watchdog, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub(crate) fn from_environment() -> Self {
        Self::new(|name| std::env::var_os(name))
    }

    fn new(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let Some(socket) = variable("NOTIFY_SOCKET") else { return Self::default() };
        let manager = match connect(socket.as_bytes()) {
            Ok(manager) => Some(manager),
            Err(error) => {
                tracing::warn!(%error, "cannot use NOTIFY_SOCKET");
                None
            }
        };
        let number = |name| variable(name).and_then(|text| text.to_str()?.parse::<u64>().ok());
        let is_ours = number("WATCHDOG_PID").is_none_or(|process| process == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|limit| is_ours && *limit > 0);
        Self { manager, watchdog: watchdog.map(Duration::from_micros) }
    }

    /// Reports that the host serves, after a start or a reload.
    pub(crate) fn ready(&self) {
        self.send("READY=1");
    }

    /// Reports that a reload starts; [`Notifier::ready`] follows, whatever its result.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    }

    /// Reports that the host drains.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Sends keep-alives to the watchdog. Never completes. Run it on the threads that serve requests, so that it stops
    /// when they hang.
    pub(crate) async fn watchdog(&self) {
        let Some(limit) = self.watchdog else { return std::future::pending().await };
        loop {
            self.send("WATCHDOG=1");
            tokio::time::sleep(limit / 3).await;
        }
    }

    fn send(&self, state: &str) {
        let Some((socket, manager)) = &self.manager else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), manager) {
            tracing::warn!(%error, "cannot tell the service manager");
        }
    }
}

fn connect(name: &[u8]) -> io::Result<(UnixDatagram, SocketAddr)> {
    let manager = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not block the host.
    socket.set_nonblocking(true)?;
    Ok((socket, manager))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn notifier(socket: &str, watchdog: &[(&str, &str)]) -> Notifier {
        Notifier::new(|name| match name {
            "NOTIFY_SOCKET" => Some(socket.into()),
            name => watchdog.iter().find(|(set, _)| *set == name).map(|(_, value)| value.into()),
        })
    }

    #[test]
    fn states_arrive_by_file_and_by_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("pserve-test-{}", std::process::id());
        let by_file = UnixDatagram::bind(&path).unwrap();
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (socket, written) in [(by_file, path.to_str().unwrap().to_owned()), (by_name, format!("@{name}"))]
        {
            let notifier = notifier(&written, &[]);
            notifier.ready();
            notifier.reloading();
            notifier.stopping();
            assert_eq!(receive(&socket), "READY=1");
            let reloading = receive(&socket);
            let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(time.parse::<u64>().unwrap() > 0);
            assert_eq!(receive(&socket), "STOPPING=1");
        }
    }

    #[test]
    fn without_a_manager_nothing_is_sent() {
        Notifier::default().ready();
        notifier("/nonexistent/socket", &[]).ready();
        notifier("", &[]).ready();
    }

    #[test]
    fn the_watchdog_is_for_this_process() {
        let watchdog = |variables: &[(&str, &str)]| notifier("/x", variables).watchdog;
        let own = std::process::id().to_string();
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(&[("WATCHDOG_USEC", "1000000"), ("WATCHDOG_PID", &own)]), second);
        assert_eq!(watchdog(&[("WATCHDOG_USEC", "1000000")]), second);
        assert_eq!(watchdog(&[("WATCHDOG_USEC", "1000000"), ("WATCHDOG_PID", "1")]), None);
        assert_eq!(watchdog(&[("WATCHDOG_USEC", "0")]), None);
        assert_eq!(watchdog(&[]), None);
    }
}
