//! Errors of single calls.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::disk::{Audit, Fault, integrity, log_of, write_during};
use e2e::pserve::Site;
use serde_json::json;

use super::control::Control;

const CLIENTS: usize = 4;
/// In a commit, with a log that stays short; where it is copied, again and again.
const SMALL: usize = 200;
const LARGE: usize = 100_000;

const BEFORE: Duration = Duration::from_millis(700);
/// A fault lasts so long from its first call, which it waits for as long.
const DURING: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(8);
const AFTER: Duration = Duration::from_millis(700);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Commit,
    Checkpoint,
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Log,
    File,
    Both,
}

impl Of {
    fn files(self, file: &Path) -> Vec<PathBuf> {
        match self {
            Self::Log => vec![log_of(file)],
            Self::File => vec![file.to_owned()],
            Self::Both => vec![file.to_owned(), log_of(file)],
        }
    }
}

/// What goes wrong in one row of the table.
struct Case {
    moment: Moment,
    of: Of,
    name: String,
    injections: Vec<String>,
}

impl Case {
    /// The first columns of its row.
    fn words(&self) -> String {
        format!("{:?} {:?} {}", self.moment, self.of, self.name).to_lowercase()
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for moment in [Moment::Commit, Moment::Checkpoint, Moment::Close] {
        for of in [Of::Log, Of::File, Of::Both] {
            for call in ["fdatasync", "fsync", "pwrite64", "ftruncate"] {
                for error in ["EIO", "ENOSPC"] {
                    let injections = vec![format!("{call}:error={error}")];
                    cases.push(Case { moment, of, name: format!("{call} {error}"), injections });
                }
            }
            // As Linux does it: what could not be written is taken for written. The syncs fail for longer, so that none of it
            // is followed by one that succeeds, which no disk does.
            let injections = vec!["pwrite64:retval=4096:when=1..100".into(), "fdatasync:error=EIO".into()];
            cases.push(Case { moment, of, name: "fdatasync EIO, pages lost".into(), injections });
        }
    }
    cases
}

/// What came of a case.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) answered: usize,
    pub(super) refused: usize,
    pub(super) injected: usize,
    pub(super) others: String,
    pub(super) ready: String,
    pub(super) audit: Audit,
    pub(super) integrity: String,
}

impl Outcome {
    fn is_good(&self) -> bool {
        self.audit.is_good() && self.integrity == "ok" && self.others.is_empty()
    }
}

pub(super) fn run() -> bool {
    println!(
        "| in a | of the | fault | calls | 2xx | 503 | ready | lost | ended alive | file | SQLite: calls | commits | lost | file |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut is_good = true;
    // `soak disk WORDS`: only rows with these words.
    let wanted = std::env::args().nth(2).unwrap_or_default();
    for case in cases().into_iter().filter(|case| case.words().contains(&wanted)) {
        let Some(ours) = pserve(&case) else {
            println!("SKIPPED: strace is missing or may not attach");
            return false;
        };
        let plain = plain(&case);
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} of {} | {} | {} | {} | {} | {} of {} | {} |",
            format!("{:?}", case.moment).to_lowercase(),
            format!("{:?}", case.of).to_lowercase(),
            case.name,
            ours.injected,
            ours.answered,
            ours.refused,
            ours.ready,
            ours.audit.lost,
            ours.audit.sessions,
            ours.audit.alive,
            ours.integrity,
            plain.injected,
            plain.answered,
            plain.audit.lost,
            plain.audit.sessions,
            plain.integrity,
        );
        if !ours.is_good() {
            println!("  NOT GOOD {}", ours.others);
            is_good = false;
        }
    }
    is_good
}

/// Until a fault was injected for a while, or nothing was there to be injected into.
fn last(fault: &Fault) {
    let begun = Instant::now();
    while fault.injected() == 0 && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(DURING);
}

fn pserve(case: &Case) -> Option<Outcome> {
    let (site, folder) = (Site::new(), tempfile::tempdir().expect("a folder"));
    let (file, trace) = (folder.path().join("sessions.db"), folder.path().join("trace"));
    site.sessman(&json!({ "path": file }).to_string());
    let pserve = site.start();
    let client = pserve.client();
    let injections: Vec<&str> = case.injections.iter().map(String::as_str).collect();
    let begin = || Fault::begin(pserve.pid(), &case.of.files(&file), &injections, &trace);
    let mut outcome = Outcome::default();
    let mut is_there = true;
    let bytes = if case.moment == Moment::Commit { SMALL } else { LARGE };
    let books = write_during(&client, CLIENTS, bytes, || {
        std::thread::sleep(BEFORE);
        if case.moment == Moment::Close {
            return;
        }
        let Some(fault) = begin() else {
            is_there = false;
            return;
        };
        last(&fault);
        outcome.ready = client.get("/readyz").status.to_string();
        outcome.injected = fault.end();
        std::thread::sleep(AFTER);
    });
    if case.moment == Moment::Close && is_there {
        match begin() {
            None => is_there = false,
            Some(fault) => {
                outcome.ready = "-".into();
                pserve.stop();
                outcome.injected = fault.end();
            }
        }
    } else {
        pserve.kill_9();
    }
    if !is_there {
        return None;
    }
    outcome.answered = books.answered;
    outcome.refused = books.refused;
    outcome.others = books.others.iter().map(|(what, count)| format!("{what}: {count}; ")).collect();
    let pserve = site.start();
    outcome.audit = books.audit(&pserve.client());
    // It goes on.
    if pserve.client().post("/sessman/new", json!({})).status != 201 {
        outcome.others.push_str("no new session after the start");
    }
    pserve.stop();
    outcome.integrity = integrity(&file);
    Some(outcome)
}

fn plain(case: &Case) -> Outcome {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, trace) = (folder.path().join("control.db"), folder.path().join("trace"));
    let bytes = if case.moment == Moment::Commit { SMALL } else { LARGE };
    let control = Control::start(&file, bytes);
    std::thread::sleep(BEFORE);
    let injections: Vec<&str> = case.injections.iter().map(String::as_str).collect();
    let fault = Fault::begin(control.pid(), &case.of.files(&file), &injections, &trace);
    let Some(fault) = fault else { return Outcome { integrity: "no strace".into(), ..Outcome::default() } };
    let mut outcome = Outcome::default();
    let committed = if case.moment == Moment::Close {
        let committed = control.close();
        outcome.injected = fault.end();
        committed
    } else {
        last(&fault);
        outcome.injected = fault.end();
        std::thread::sleep(AFTER);
        control.kill_9()
    };
    outcome.answered = committed.len();
    outcome.integrity = integrity(&file);
    outcome.audit = super::control::audit(&file, &committed);
    outcome
}
