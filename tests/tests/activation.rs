//! Sockets that the service manager listens on: `systemd-socket-activate` stands in for it, and a shell for a restart.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use e2e::http::{Client, status};
use e2e::ports;
use e2e::pserve::{Site, eventually, send_signal};
use e2e::{artifacts, skip};
use rustix::process::Signal;

/// A process; killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_installed(test: &str) -> bool {
    let found = Command::new("systemd-socket-activate").arg("--version").output().is_ok();
    if !found {
        skip(test, "systemd-socket-activate is not installed");
    }
    found
}

fn site(port: u16, more: &str) -> Site {
    let site = Site::new();
    configure(&site, port, more);
    site
}

fn configure(site: &Site, port: u16, more: &str) {
    site.ini(&format!(
        "[network]\nport={port}\n{more}[auth]\napikey=k\n[plugin_parms]\nsessman=backend=memory\n"
    ));
}

/// `systemd-socket-activate` with these options; it starts a command once somebody connects.
fn activate(site: &Site, options: &[&str], command: &[&str]) -> Running {
    let log = fs::File::create(site.path("pserve.log")).unwrap();
    let mut activate = Command::new("systemd-socket-activate");
    activate.args(options).args(command).current_dir(site.path("")).stdin(Stdio::null());
    activate.stdout(log.try_clone().unwrap()).stderr(log);
    Running(activate.spawn().unwrap())
}

fn pserve() -> String {
    artifacts().join("pserve").display().to_string()
}

fn log(site: &Site) -> String {
    fs::read_to_string(site.path("pserve.log")).unwrap_or_default()
}

/// A request over a Unix socket.
fn by_socket(path: &Path) -> Option<u16> {
    let mut stream = UnixStream::connect(path).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    status(&answer)
}

#[test]
fn sockets_of_the_service_manager_are_served_kept_over_reloads_and_given_to_no_child() {
    const TEST: &str = "sockets_of_the_service_manager_are_served_kept_over_reloads_and_given_to_no_child";
    if !is_installed(TEST) {
        return;
    }
    let port = ports::free();
    let site = site(port, "unix_socket=s.sock\n");
    let (tcp, unix) = (format!("127.0.0.1:{port}"), site.path("s.sock"));
    let unix_text = unix.display().to_string();
    let running = activate(&site, &["-l", &tcp, "-l", &unix_text], &[&pserve(), "-i", "pserve.ini"]);
    eventually("the manager listens", || unix.exists() && TcpStream::connect(&tcp).is_ok());
    let client = Client::new(&format!("http://{tcp}")).with("X-Custom-Auth", "k");
    client.get("/readyz").expect(200);
    assert_eq!(by_socket(&unix), Some(200));
    // It became pserve.
    let pid = running.0.id();
    let sockets = |pid: u32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let links = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
        let mut sockets: Vec<String> =
            links.map(|link| link.display().to_string()).filter(|link| link.starts_with("socket:")).collect();
        sockets.sort_unstable();
        sockets
    };
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim(), "pserve");
    let inherited = ["3", "4"].map(|fd| fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap());
    assert!(inherited.iter().all(|link| sockets(pid).contains(&link.display().to_string())));
    // What tries plugins says what it has open.
    site.plugin("libmisbehaves.so");
    client.send("POST", "/reload/all", "").expect(200);
    for fd in ["3", "4"] {
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let close_on_exec = 0o2_000_000;
        assert_ne!(u32::from_str_radix(flags, 8).unwrap() & close_on_exec, 0, "{info}");
    }
    assert_eq!(by_socket(&unix), Some(200));
    // What is still handed over cannot be left alone.
    configure(&site, ports::free(), "unix_socket=s.sock\n");
    let refused = client.send("POST", "/reload/all", "").expect(422).member("error");
    assert!(refused.contains("handed over") && refused.contains(&tcp), "{refused}");
    client.get("/readyz").expect(200);
    send_signal(&running.0, Signal::TERM);
    eventually("it stops", || log(&site).contains("stopped"));
    assert!(unix.exists(), "the manager's file stays");
}

#[test]
fn a_name_says_what_a_socket_is_for_and_one_that_nobody_serves_is_refused() {
    const TEST: &str = "a_name_says_what_a_socket_is_for_and_one_that_nobody_serves_is_refused";
    if !is_installed(TEST) {
        return;
    }
    for (name, is_served) in [("bindto", true), ("other", false)] {
        let port = ports::free();
        let site = site(ports::free(), "");
        let tcp = format!("127.0.0.1:{port}");
        let options = ["-l", &tcp, &format!("--fdname={name}")];
        let _running = activate(&site, &options, &[&pserve(), "-i", "pserve.ini"]);
        eventually("the manager listens", || TcpStream::connect(&tcp).is_ok());
        if is_served {
            Client::new(&format!("http://{tcp}")).get("/healthz").expect(200);
            assert!(log(&site).contains(&format!("listening on http://{tcp}")), "{}", log(&site));
        } else {
            eventually("it says why not", || log(&site).contains("handed over 127.0.0.1"));
        }
    }
}

#[test]
fn a_second_socket_for_the_one_address_is_refused() {
    const TEST: &str = "a_second_socket_for_the_one_address_is_refused";
    if !is_installed(TEST) {
        return;
    }
    let site = site(ports::free(), "");
    let [first, second] = [ports::free(), ports::free()].map(|port| format!("127.0.0.1:{port}"));
    let options = ["-l", &first, "-l", &second, "--fdname=bindto:bindto"];
    let _running = activate(&site, &options, &[&pserve(), "-i", "pserve.ini"]);
    eventually("the manager listens", || TcpStream::connect(&first).is_ok());
    eventually("it says why not", || {
        let log = log(&site);
        log.contains(&second) && log.contains("one address")
    });
    assert!(!log(&site).contains("listening on"), "{}", log(&site));
}

/// Starts the host again and again on the sockets that it got itself.
const RESTARTING: &str =
    r#"while [ ! -e enough ]; do LISTEN_PID= sh -c 'LISTEN_PID=$$ exec "$0" -i pserve.ini' "$0"; done"#;

#[test]
fn a_restart_refuses_no_connection() {
    const TEST: &str = "a_restart_refuses_no_connection";
    if !is_installed(TEST) {
        return;
    }
    let port = ports::free();
    let site = site(port, "");
    let tcp = format!("127.0.0.1:{port}");
    let _running = activate(&site, &["-l", &tcp], &["sh", "-c", RESTARTING, &pserve()]);
    eventually("the manager listens", || TcpStream::connect(&tcp).is_ok());
    // Each request on a connection of its own, as one that is kept alive may break at any stop.
    let ask = || {
        let mut stream = TcpStream::connect(&tcp).map_err(|error| format!("refused: {error}"))?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).map_err(|error| error.to_string())?;
        let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).map_err(|error| error.to_string())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(|error| format!("reset: {error}"))?;
        (status(&answer) == Some(200)).then_some(()).ok_or(answer)
    };
    ask().unwrap();
    let starts = || log(&site).matches("pserve: listening on").count();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let (mut asked, mut failed) = (0, Vec::new());
            while starts() < 4 {
                asked += 1;
                failed.extend(ask().err());
            }
            (asked, failed)
        });
        for restarts in 1..4 {
            eventually("it has started", || starts() >= restarts);
            let children = || fs::read_to_string(format!("/proc/{0}/task/{0}/children", _running.0.id()));
            let child = children().unwrap().split_whitespace().next().unwrap().parse().unwrap();
            rustix::process::kill_process(rustix::process::Pid::from_raw(child).unwrap(), Signal::TERM)
                .unwrap();
            eventually("it has started again", || starts() > restarts);
        }
        let (asked, failed) = asking.join().unwrap();
        assert!(failed.is_empty() && asked > 3, "{} of {asked}: {failed:?}", failed.len());
    });
    // The last one ends with the loop.
    fs::write(site.path("enough"), "").unwrap();
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", _running.0.id())).unwrap();
    for child in children.split_whitespace() {
        let pid = rustix::process::Pid::from_raw(child.parse().unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
}
