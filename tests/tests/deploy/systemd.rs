//! The unit for systemd: read by its own tools, and its line run within what it allows.

use super::*;

/// The units that ship.
const UNITS: [&str; 4] =
    ["pserve.service", "pserve.socket", "sessman-backup.service", "sessman-backup.timer"];

/// A line of `pserve.service` for each value of a key, in the order of the file.
pub(super) fn unit(key: &str) -> Vec<String> {
    of_unit("pserve.service", key)
}

/// The same of another unit.
pub(super) fn of_unit(name: &str, key: &str) -> Vec<String> {
    let text = read(&format!("deploy/systemd/{name}"));
    let lines = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.map(str::to_owned).collect()
}

/// An image whose files lie where the unit looks for them, with the configuration of a package.
pub(super) fn installed() -> Image {
    let mut image = Image::build();
    image.environment.clear();
    let ini = read("config/pserve.ini").replace("plugins = plugins", "plugins = /usr/lib/pserve/plugins");
    let ini = ini.replace("state = state", "state = /var/lib/pserve");
    // Stores that are reached by name and by network, too.
    let others =
        "other=plugin=sessman&backend=redis&server_url=localhost:1\nthird=plugin=sessman&backend=mongodb\n";
    fs::write(image.file("/etc/pserve/pserve.ini"), format!("{ini}\n{others}")).unwrap();
    image
}

#[test]
fn systemd_finds_no_fault_with_the_units() {
    let image = installed();
    // systemd looks for the programs and for its own units.
    for (folder, from) in [("/usr/lib/systemd", "/usr/lib/systemd/system"), ("/bin", "/bin/kill")] {
        fs::create_dir_all(image.file(folder)).unwrap();
        succeed(Command::new("cp").arg("-r").arg(from).arg(image.file(folder)));
    }
    for unit in UNITS {
        let there = image.file(&format!("/usr/lib/systemd/system/{unit}"));
        fs::copy(format!("{DEPLOY}/systemd/{unit}"), there).unwrap();
    }
    let mut root = std::ffi::OsString::from("--root=");
    root.push(image.file("/"));
    let verify = || Command::new("systemd-analyze").arg(&root).arg("verify").args(UNITS).output().unwrap();
    let verified = verify();
    let told = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && told.is_empty(), "{told}");

    for service in ["pserve.service", "sessman-backup.service"] {
        let mut security = Command::new("systemd-analyze");
        security.args(["security", "--offline=true", "--no-pager", "--threshold=15"]);
        succeed(security.arg(format!("{DEPLOY}/systemd/{service}")));
    }
    for program in ["/usr/bin/pserve", "/usr/bin/sessctl"] {
        fs::rename(image.file(program), image.file("/away")).unwrap();
        assert!(!verify().status.success(), "it does look for {program}");
        fs::rename(image.file("/away"), image.file(program)).unwrap();
    }
}

/// The names of the calls that strace wrote down.
pub(super) fn calls_in(text: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        // A process, and then `name(...`, `<... name resumed>`, or what is no call.
        let call = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        let name = call.split('(').next().unwrap_or_default().to_owned();
        let is_name = !name.is_empty()
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        is_name.then_some(name)
    };
    text.lines().filter_map(name).collect()
}

#[test]
fn the_sockets_of_the_unit_are_those_of_the_configuration_that_ships() {
    let socket = read("deploy/systemd/pserve.socket");
    let ini = read("config/pserve.ini");
    let value = |key: &str| {
        let line = ini.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('='));
        line.map(str::trim).unwrap_or_else(|| panic!("no {key}")).to_owned()
    };
    let address = format!("\nListenStream={}:{}\n", value("bindto"), value("port"));
    assert!(socket.contains(&address), "{address}");
}

/// Every system call of the sets that the unit allows, less those that it forbids.
pub(super) fn allowed_calls() -> BTreeSet<String> {
    fn expand(set: &str, into: &mut BTreeSet<String>) {
        let listed = succeed(Command::new("systemd-analyze").args(["syscall-filter", "--no-pager", set]));
        for line in
            listed.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            if line.starts_with('@') { expand(line, into) } else { into.extend([line.to_owned()]) }
        }
    }
    let mut allowed = BTreeSet::new();
    for line in unit("SystemCallFilter") {
        let mut sets = BTreeSet::new();
        line.trim_start_matches('~').split(' ').for_each(|set| expand(set, &mut sets));
        if line.starts_with('~') {
            allowed.retain(|call| !sets.contains(call))
        } else {
            allowed.append(&mut sets)
        }
    }
    allowed
}

#[test]
fn the_line_of_the_unit_serves_within_its_limits() {
    let image = installed();
    let port = ports::free().to_string();
    let environment: Environment =
        [("PSERVE_NETWORK_PORT", &*port), ("PSERVE_NETWORK_UNIX_SOCKET", "/var/lib/pserve/socket")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    fs::copy(on_path("strace").unwrap(), image.file("/usr/bin/strace")).unwrap();
    let mut line: Vec<String> =
        ["/usr/bin/strace", "-f", "-qq", "-o", "/var/lib/pserve/calls"].map(String::from).into();
    line.extend(unit("ExecStart")[0].split(' ').map(str::to_owned));
    let sandbox = image.command(&environment, &line);
    // What MemoryDenyWriteExecute asks for, of the kernel itself.
    let deny = "import ctypes, os, sys\n\
                assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0, 'no PR_SET_MDWE'\n\
                os.execvp(sys.argv[1], sys.argv[1:])";
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", deny]).arg(sandbox.get_program()).args(sandbox.get_args());
    command.env_clear().envs(sandbox.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let log = image.file("/pserve.log");
    let pserve = Pserve::spawn(command, log).unwrap_or_else(|log| panic!("{log}"));

    let id = pserve.client().post("/sessman/new", json!({})).expect(201).member("session_id");
    for away in ["/other/new", "/third/new"] {
        pserve.client().post(away, json!({})).expect(503);
    }
    // A reload, with another plugin file: it is tried and mapped anew.
    let reload = unit("ExecReload");
    let check: Vec<String> = reload[0].split(' ').map(str::to_owned).collect();
    succeed(&mut image.command(&environment, &check));
    assert_eq!(reload[1], "/bin/kill -HUP $MAINPID");
    let plugin = image.file("/usr/lib/pserve/plugins/libsessman_plugin.so");
    let mut bytes = fs::read(&plugin).unwrap();
    bytes.extend_from_slice(b"another");
    fs::write(image.file("/new.so"), bytes).unwrap();
    fs::rename(image.file("/new.so"), &plugin).unwrap();
    let loaded = || pserve.log().matches("plugin loaded").count();
    let before = loaded();
    pserve.signal(Signal::HUP);
    eventually("the other file is loaded", || loaded() > before);
    eventually("the session is there", || {
        pserve.client().get(&format!("/sessman/get?session_id={id}")).status == 200
    });
    assert!(pserve.stop().success());

    let calls = fs::read_to_string(image.state().join("calls")).unwrap();
    let allowed = allowed_calls();
    let (seen, mut families) = (calls_in(&calls), BTreeSet::new());
    for line in calls.lines() {
        let call = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        if let Some(rest) = call.strip_prefix("socket(") {
            families.insert(rest.split(',').next().unwrap().to_owned());
        }
        let both = call.contains("PROT_WRITE|PROT_EXEC");
        let later = call.starts_with("mprotect(") && call.contains("PROT_EXEC");
        assert!(!both && !later, "written and run: {call}");
    }
    assert!(
        seen.contains("memfd_create") && seen.contains("accept4") && seen.contains("fdatasync"),
        "{seen:?}"
    );
    let forbidden: Vec<_> = seen.difference(&allowed).collect();
    assert!(forbidden.is_empty(), "the unit forbids {forbidden:?}");
    let allowed = unit("RestrictAddressFamilies");
    let unknown: Vec<_> =
        families.iter().filter(|family| !allowed[0].split(' ').any(|name| name == **family)).collect();
    assert!(families.len() >= 2 && unknown.is_empty(), "the unit forbids {unknown:?}");
}
