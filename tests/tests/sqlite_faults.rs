//! A SQLite file that is damaged, foreign, locked or out of room: a clear answer, a line in the log, and never an
//! empty store in place of one that cannot be read.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::disk::{Fault, integrity, write_during};
use e2e::http::Client;
use e2e::pserve::{Pserve, Site, eventually};
use serde_json::{Value, json};

/// Sessions that a file is made with, large enough to fill pages all over it.
const SESSIONS: usize = 12;
const DATA_BYTES: usize = 20_000;

/// A site whose store is in `file`.
fn site(file: &Path) -> Site {
    let site = Site::new();
    site.sessman(&json!({ "path": file }).to_string());
    site
}

/// Creates sessions and gives their ids.
fn fill(client: &Client) -> Vec<String> {
    let create = |n| client.post("/sessman/new", session(n)).expect(201).member("session_id");
    (0..SESSIONS).map(create).collect()
}

fn session(n: usize) -> Value {
    json!({ "data": { "n": n, "text": "x".repeat(DATA_BYTES) } })
}

fn has_all(client: &Client, ids: &[String]) {
    for (n, id) in ids.iter().enumerate() {
        let found = client.get(&format!("/sessman/get?token={id}")).expect(200).json();
        assert_eq!(found["data"]["n"], n);
    }
}

/// A program with sessions in `file` that runs and stops again, and what the file is like then.
fn stopped_with_sessions(site: &Site, file: &Path) -> (Vec<String>, Vec<u8>) {
    let pserve = site.start();
    let ids = fill(&pserve.client());
    assert!(pserve.stop().success());
    (ids, fs::read(file).unwrap())
}

/// The instance does not serve, says so, and its log names the reason; the host goes on.
fn is_refused(pserve: &Pserve, said: &str) {
    let client = pserve.client();
    client.post("/sessman/new", json!({})).expect(503);
    client.get(&format!("/sessman/get?token={}", "A".repeat(48))).expect(503);
    client.get("/readyz").expect(503);
    client.get("/healthz").expect(200);
    let log = pserve.log();
    let line = log.lines().find(|line| line.contains(said));
    assert!(line.is_some_and(|line| line.contains("ERROR")), "no error with {said:?} in the log:\n{log}");
}

#[test]
fn a_file_that_cannot_be_used_is_refused_by_name_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions.db");
    let site = site(&file);
    let (ids, good) = stopped_with_sessions(&site, &file);
    assert!(good.len() > SESSIONS * DATA_BYTES);

    let patched = |at: usize, bytes: &[u8]| {
        let mut content = good.clone();
        content[at..at + bytes.len()].copy_from_slice(bytes);
        content
    };
    // The positions are those of SQLite's file header: user_version and application_id.
    let cases = [
        ("overwritten in its middle", patched(good.len() / 2, &[0xC3; 16_384]), "is damaged"),
        ("cut in half", good[..good.len() / 2].to_vec(), "is damaged"),
        ("cut within its header", good[..60].to_vec(), "is damaged"),
        ("no database", b"some notes\n".repeat(1_000), "is not a SQLite file"),
        ("of a newer version", patched(60, &9_u32.to_be_bytes()), "was written by a newer version"),
        ("another application's", patched(68, &42_u32.to_be_bytes()), "of another application"),
    ];
    for (case, content, said) in cases {
        fs::write(&file, &content).unwrap();
        let pserve = site.start();
        is_refused(&pserve, said);
        assert!(pserve.log().contains(file.to_str().unwrap()), "{case}: the log names the file");
        assert!(pserve.stop().success(), "{case}");
        assert!(fs::read(&file).unwrap() == content, "{case}: the file was changed");
        fs::remove_file(site.path("pserve.log")).unwrap();
    }
    fs::write(&file, &good).unwrap();
    has_all(&site.start().client(), &ids);
}

#[test]
fn a_missing_folder_is_named_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none/sessions.db");
    let site = site(&file);
    is_refused(&site.start(), "there is no folder");
    assert!(!folder.path().join("none").exists());
}

#[test]
fn a_file_that_breaks_while_it_is_used_is_an_error_with_its_reason_and_never_a_missing_session() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions.db");
    let site = site(&file);
    let (ids, good) = stopped_with_sessions(&site, &file);
    let pserve = site.start();
    let client = pserve.client();
    let (half, pages) = (good.len() / 2 / 4_096 * 4_096, 4_096 * 8);
    fs::OpenOptions::new()
        .write(true)
        .open(&file)
        .unwrap()
        .write_all_at(&vec![0xC3; pages], half as u64)
        .unwrap();
    let mut broken = 0;
    for id in &ids {
        let answer = client.get(&format!("/sessman/get?token={id}"));
        let status = if answer.status == 200 { 200 } else { 500 };
        answer.expect(status);
        broken += usize::from(status == 500);
    }
    assert!(broken > 0 && broken < SESSIONS, "{broken} of {SESSIONS} are in the broken part");
    let log = pserve.log();
    let mut said = log.lines().filter(|line| line.contains("is damaged"));
    assert!(said.any(|line| line.contains("ERROR") && line.contains("backup")), "{log}");
}

#[test]
fn a_second_process_is_refused_and_does_the_first_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions.db");
    let (first_site, second_site) = (site(&file), site(&file));
    let first = first_site.start();
    let ids = fill(&first.client());
    let second = second_site.start();
    is_refused(&second, "is in use by process");
    assert!(second.log().contains(&format!("process {}", first.pid())), "{}", second.log());
    has_all(&first.client(), &ids);
    assert!(second.stop().success());
    first.client().post("/sessman/new", json!({})).expect(201);
    first.client().get("/readyz").expect(200);
    assert!(first.stop().success());
    // The way is free, and what the first one wrote is there.
    has_all(&second_site.start().client(), &ids);
}

#[test]
fn a_second_process_is_refused_though_the_lock_file_was_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions.db");
    let (first_site, second_site) = (site(&file), site(&file));
    let first = first_site.start();
    let id = fill(&first.client()).remove(0);
    let is_lock = |path: &PathBuf| path.to_string_lossy().ends_with("lock");
    let entries = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let locks: Vec<PathBuf> = entries.filter(is_lock).collect();
    assert!(!locks.is_empty());
    locks.iter().for_each(|lock| fs::remove_file(lock).unwrap());
    let second = second_site.start();
    is_refused(&second, "is in use by");
    first.client().post("/sessman/end", json!({ "session_id": id })).expect(200);
    assert_eq!(second.client().get(&format!("/sessman/get?session_id={id}")).status, 503);
    assert!(first.stop().success() && second.stop().success());
}

#[test]
fn a_full_disk_is_a_503_for_writes_while_reads_go_on_and_ends_by_itself() {
    const TEST: &str = "a_full_disk_is_a_503_for_writes_while_reads_go_on_and_ends_by_itself";
    let Some(disk) = Disk::mount(TEST, "2m") else { return };
    let file = disk.path().join("sessions.db");
    fs::write(disk.path().join("ballast"), vec![1; 1_000_000]).unwrap();
    let site = site(&file);
    let pserve = site.start();
    let client = pserve.client();
    let mut ids = Vec::new();
    let refused = loop {
        let answer = client.post("/sessman/new", session(ids.len()));
        if answer.status != 201 {
            break answer.expect(503);
        }
        ids.push(answer.member("session_id"));
        assert!(ids.len() < 1_000, "the disk is never full");
    };
    assert!(refused.header("retry-after").unwrap().parse::<u32>().is_ok(), "{refused:?}");
    has_all(&client, &ids);
    let update =
        client.post("/sessman/update", json!({ "token": ids[0], "data": "y".repeat(9 * DATA_BYTES) }));
    assert!(update.expect(503).header("retry-after").is_some());
    has_all(&client, &ids);
    let log = pserve.log();
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains("disk is full")), "{log}");

    fs::remove_file(disk.path().join("ballast")).unwrap();
    eventually("writes again", || client.post("/sessman/new", session(0)).status == 201);
    client.get("/readyz").expect(200);
    has_all(&client, &ids);
    assert!(pserve.stop().success());
    has_all(&site.start().client(), &ids);
}

#[test]
fn a_disk_that_is_full_at_the_start_is_named_and_the_next_start_finds_a_sound_file() {
    const TEST: &str = "a_disk_that_is_full_at_the_start_is_named_and_the_next_start_finds_a_sound_file";
    let Some(disk) = Disk::mount(TEST, "2m") else { return };
    let file = disk.path().join("sessions.db");
    let site = site(&file);
    let ballast = disk.path().join("ballast");
    let mut rest = fs::File::create(&ballast).unwrap();
    while rest.write_all(&[1; 4_096]).is_ok() {}
    let pserve = site.start();
    is_refused(&pserve, "disk is full");
    assert!(pserve.log().contains(file.to_str().unwrap()), "the log names the file:\n{}", pserve.log());
    assert!(pserve.stop().success());
    fs::remove_file(&ballast).unwrap();
    drop(rest);
    let pserve = site.start();
    let ids = fill(&pserve.client());
    has_all(&pserve.client(), &ids);
}

#[test]
fn a_read_only_file_system_is_named() {
    let Some(disk) = Disk::mount("a_read_only_file_system_is_named", "4m") else { return };
    let file = disk.path().join("sessions.db");
    let site = site(&file);
    let (ids, good) = stopped_with_sessions(&site, &file);
    disk.remount("ro");
    let pserve = site.start();
    is_refused(&pserve, "set a `path` on a file system that can be written to");
    assert!(pserve.stop().success());
    assert!(fs::read(&file).unwrap() == good, "the file was changed");
    disk.remount("rw");
    has_all(&site.start().client(), &ids);
}

#[test]
fn a_file_that_may_not_be_written_to_is_named() {
    const TEST: &str = "a_file_that_may_not_be_written_to_is_named";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions.db");
    let site = site(&file);
    let (ids, _) = stopped_with_sessions(&site, &file);
    // A mode does not stop root; this attribute does.
    let Some(immutable) = Immutable::make(TEST, &file) else { return };
    let pserve = site.start();
    is_refused(&pserve, "let this user read and write it and its folder");
    drop(immutable);
    assert!(pserve.stop().success());
    has_all(&site.start().client(), &ids);
}

#[test]
fn a_folder_that_may_not_be_written_to_is_named() {
    const TEST: &str = "a_folder_that_may_not_be_written_to_is_named";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions.db");
    let site = site(&file);
    let (ids, good) = stopped_with_sessions(&site, &file);
    let Some(immutable) = Immutable::make(TEST, folder.path()) else { return };
    let pserve = site.start();
    is_refused(&pserve, "let this user read and write it and its folder");
    drop(immutable);
    assert!(pserve.stop().success());
    assert!(fs::read(&file).unwrap() == good, "the file was changed");
    has_all(&site.start().client(), &ids);
}

/// As Linux does it: what could not be written is taken for written, and said once.
const LOST: [&str; 2] = ["pwrite64:retval=4096", "fdatasync:error=EIO"];

#[test]
fn a_sync_of_the_file_that_fails_costs_no_answered_write_and_ends_all_others() {
    const TEST: &str = "a_sync_of_the_file_that_fails_costs_no_answered_write_and_ends_all_others";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions.db");
    let site = site(&file);
    site.ini("[auth]\napikey=k\n[plugin_parms]\nsessman=json=sessman.json");
    let keyed = |pserve: &Pserve| pserve.client().with("X-Custom-Auth", "k");
    let pserve = site.start();
    let client = keyed(&pserve);
    let mut is_there = true;
    // Some 25 pages a write: the log is soon copied.
    let books = write_during(&client, 4, 100_000, || {
        let trace = folder.path().join("trace");
        let Some(fault) = Fault::begin(pserve.pid(), std::slice::from_ref(&file), &LOST, &trace) else {
            is_there = false;
            return;
        };
        eventually("a sync fails", || {
            fs::read_to_string(&trace).unwrap_or_default().contains("EIO (Input/output error) (INJECTED)")
        });
        assert!(fault.end() > 0);
        // The disk is well again, which nobody can know.
        eventually("a write is refused", || client.post("/sessman/new", json!({})).status == 503);
    });
    if !is_there {
        return e2e::skip(TEST, "strace is missing or may not attach on this machine");
    }
    client.get("/readyz").expect(503);
    client.get("/healthz").expect(200);
    let metrics = client.get("/metrics").text;
    let failed = metrics.lines().find(|line| line.starts_with("sessman_sqlite_disk_failed{"));
    assert!(failed.is_some_and(|line| line.ends_with(" 1")), "{failed:?}");
    let log = pserve.log();
    let said = log.lines().find(|line| line.contains("the disk failed to keep"));
    assert!(said.is_some_and(|line| line.contains("ERROR") && line.contains("restart pserve")), "{log}");
    pserve.kill_9();
    let pserve = site.start();
    let audit = books.audit(&keyed(&pserve));
    assert!(audit.is_good() && books.others.is_empty(), "{audit:?} {:?}", books.others);
    keyed(&pserve).post("/sessman/new", json!({})).expect(201);
    assert!(pserve.stop().success());
    assert_eq!(integrity(&file), "ok");
}

#[test]
fn a_sync_of_the_file_that_fails_at_the_stop_leaves_the_log_to_the_next_start() {
    const TEST: &str = "a_sync_of_the_file_that_fails_at_the_stop_leaves_the_log_to_the_next_start";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions.db");
    let site = site(&file);
    let pserve = site.start();
    let ids = fill(&pserve.client());
    let fault = Fault::begin(pserve.pid(), std::slice::from_ref(&file), &LOST, &folder.path().join("trace"));
    let Some(fault) = fault else {
        return e2e::skip(TEST, "strace is missing or may not attach on this machine");
    };
    assert!(pserve.stop().success());
    assert!(fault.end() > 0);
    assert!(fs::metadata(e2e::disk::log_of(&file)).unwrap().len() > (SESSIONS * DATA_BYTES) as u64);
    let pserve = site.start();
    has_all(&pserve.client(), &ids);
    assert!(pserve.stop().success());
    assert_eq!(integrity(&file), "ok");
}

#[test]
fn sessions_end_on_a_full_disk_and_make_room_whether_or_not_it_was_restarted() {
    const TEST: &str = "sessions_end_on_a_full_disk_and_make_room_whether_or_not_it_was_restarted";
    let Some(disk) = Disk::mount(TEST, "8m") else { return };
    let file = disk.path().join("sessions.db");
    let site = site(&file);
    let mut pserve = site.start();
    for how in ["run on", "kill -9", "stop"] {
        let mut ids = Vec::new();
        let refused = loop {
            let answer = pserve.client().post("/sessman/new", session(ids.len()));
            if answer.status != 201 {
                break answer.expect(503);
            }
            ids.push(answer.member("session_id"));
            assert!(ids.len() < 1_000, "the disk is never full");
        };
        assert!(ids.len() > 100, "{how}: full with {} sessions", ids.len());
        assert!(refused.text.contains("the session store is full"), "{how}: {refused:?}");
        pserve = match how {
            "kill -9" => {
                pserve.kill_9();
                site.start()
            }
            "stop" => {
                assert!(pserve.stop().success());
                site.start()
            }
            _ => pserve,
        };
        let client = pserve.client();
        has_all(&client, &ids);
        client.get("/readyz").expect(200);
        client.post("/sessman/touch", json!({ "token": ids[0] })).expect(200);
        for id in ids {
            client.post("/sessman/end", json!({ "token": id })).expect(200);
        }
    }
    let log = pserve.log();
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains("the disk is full")), "{log}");
    pserve.client().post("/sessman/new", session(0)).expect(201);
    assert!(pserve.stop().success());
    assert_eq!(integrity(&file), "ok");
}

/// A small file system in memory, unmounted when this is dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    /// `None`, and reported, where mounting is not permitted.
    fn mount(test: &str, size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o"]).arg(format!("size={size}")).arg("tmpfs").arg(folder.path());
        succeeds(&mut mount, test).then(|| Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, mode: &str) {
        let mut mount = Command::new("mount");
        let status = mount.arg("-o").arg(format!("remount,{mode}")).arg(self.path()).status();
        assert!(status.unwrap().success(), "remounted {mode}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that a failed test leaves for a moment must not keep it mounted.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// A file that nobody may write to, or a folder that nothing may be made in, until this is dropped.
struct Immutable(PathBuf);

impl Immutable {
    /// `None`, and reported, where that attribute cannot be had.
    fn make(test: &str, file: &Path) -> Option<Self> {
        succeeds(Command::new("chattr").arg("+i").arg(file), test).then(|| Self(file.to_owned()))
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        let _ = Command::new("chattr").arg("-i").arg(&self.0).status();
    }
}

/// Whether a command that needs rights worked; if it did not, the test is reported as skipped.
fn succeeds(command: &mut Command, test: &str) -> bool {
    let worked = command.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !worked {
        e2e::skip(test, &format!("{} is not permitted on this machine", command.get_program().display()));
    }
    worked
}
