//! Plain SQLite, by which one sees what a disk's fault does by itself: a process that inserts a row a transaction.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use e2e::disk::Audit;
use rusqlite::Connection;

/// The name by which this program runs as one.
pub(crate) const NAME: &str = "sqlite-control";

/// A process that writes until its input ends.
pub(super) struct Control {
    child: Child,
    input: ChildStdin,
    reader: JoinHandle<()>,
    committed: Arc<Mutex<Vec<i64>>>,
}

impl Control {
    /// Rows of so many bytes into a new file.
    pub(super) fn start(file: &Path, bytes: usize) -> Self {
        let this = std::env::current_exe().expect("this program");
        let mut command = Command::new(this);
        command.arg(NAME).arg(file).arg(bytes.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let (input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let committed = Arc::new(Mutex::new(Vec::new()));
        let reader = thread::spawn({
            let committed = committed.clone();
            move || {
                let lines = BufReader::new(output).lines().map_while(Result::ok);
                let rows = lines.filter_map(|line| line.parse().ok());
                rows.for_each(|row| committed.lock().expect("nobody panicked").push(row));
            }
        });
        Self { child, input, reader, committed }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Rows whose transactions were committed, after it has closed the file.
    pub(super) fn close(self) -> Vec<i64> {
        let Self { mut child, input, reader, committed } = self;
        drop(input);
        child.wait().expect("it ends");
        reader.join().expect("it does not panic");
        Arc::into_inner(committed).expect("nobody else").into_inner().expect("nobody panicked")
    }

    /// As [`close`](Self::close), without closing the file.
    pub(super) fn kill_9(mut self) -> Vec<i64> {
        self.child.kill().expect("it is killed");
        self.close()
    }
}

/// What is there of rows that were committed.
pub(super) fn audit(file: &Path, committed: &[i64]) -> Audit {
    let found: rusqlite::Result<usize> = (|| {
        let connection = Connection::open(file)?;
        let mut statement =
            connection.prepare("SELECT count(*) FROM rows WHERE id = ?1 AND length(data) > 0")?;
        let mut found = 0;
        for row in committed {
            found += statement.query_row([row], |row| row.get::<_, u32>(0)).unwrap_or(0) as usize;
        }
        Ok(found)
    })();
    let sessions = committed.len();
    Audit { sessions, lost: sessions - found.unwrap_or(0).min(sessions), alive: 0 }
}

/// This program as a control: writes rows, and says the number of each that was committed.
pub(crate) fn run() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let [file, bytes] = &arguments[..] else { return ExitCode::FAILURE };
    let bytes: i64 = bytes.parse().expect("a number");
    let connection = Connection::open(file).expect("it opens");
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE rows (id INTEGER PRIMARY KEY, data)")
        .expect("a new file");
    static ENDED: AtomicBool = AtomicBool::new(false);
    thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ENDED.store(true, Ordering::Relaxed);
    });
    let mut output = std::io::stdout();
    let mut row = 0;
    while !ENDED.load(Ordering::Relaxed) {
        row += 1;
        match connection.execute("INSERT INTO rows VALUES (?1, randomblob(?2))", (row, bytes)) {
            Ok(_) => writeln!(output, "{row}").expect("somebody reads"),
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
    // What it says of a close that failed would be said to nobody.
    let _ = connection.close();
    ExitCode::SUCCESS
}
