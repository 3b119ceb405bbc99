//! A network between a host and its store that is cut at the n-th command, just before the server has it or just after
//! the server has done it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// What is spoken on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RESP.
    Redis,
    /// `OP_MSG`.
    MongoDb,
}

/// When the way is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The server does not get the command.
    Before,
    /// The server has done it; nobody hears of that.
    After,
}

/// Passes connections on to a server on this machine. Its threads end with the test's process.
pub struct Cut {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    protocol: Protocol,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Which command of those that are counted cuts the way.
    armed: Option<(usize, Moment)>,
    /// Commands since it was armed.
    counted: usize,
    last: Instant,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The server is still at the last command; nothing else comes through.
    Closing,
    Cut,
}

/// How often a connection looks whether it is cut.
const LOOK: Duration = Duration::from_millis(10);
/// What no command follows for so long is over.
const QUIET: Duration = Duration::from_millis(60);

/// What connections say about themselves, and what is asked about the server. Anything else is counted.
const NOT_COUNTED: [&str; 12] = [
    "HELLO", "CLIENT", "AUTH", "SELECT", "INFO", "PING", "ROLE", "TIME", "CONFIG", "CLUSTER", "READONLY",
    "COMMAND",
];
/// What is about the collections.
const COUNTED: [&str; 7] = ["insert", "update", "delete", "find", "findAndModify", "aggregate", "count"];

impl Cut {
    /// To the server on this port of 127.0.0.1.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn to(protocol: Protocol, server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its number").port();
        let state = State { armed: None, counted: 0, last: Instant::now(), phase: Phase::Open };
        let shared = Arc::new(Shared { protocol, state: Mutex::new(state), changed: Condvar::new() });
        let passing = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // One that comes while the way is cut ends at once, as where there is no server.
                if passing.state().phase == Phase::Open
                    && let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server))
                {
                    let _ = passing.pass_on(client, server);
                }
            }
        });
        Self { port, shared }
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits until no command comes any more.
    pub fn settle(&self) {
        while self.shared.state().last.elapsed() < QUIET {
            thread::sleep(LOOK);
        }
    }

    /// From now on commands are counted, and the way is cut at the `n`-th; the first is 1.
    pub fn arm(&self, n: usize, moment: Moment) {
        let mut state = self.shared.state();
        (state.armed, state.counted, state.last) = (Some((n, moment)), 0, Instant::now());
    }

    /// Waits until the way is cut, or `is_over` and no command comes any more. Whether it is cut.
    pub fn wait(&self, is_over: impl Fn() -> bool) -> bool {
        let mut state = self.shared.state();
        while state.phase != Phase::Cut
            && !(is_over() && state.phase == Phase::Open && state.last.elapsed() > QUIET)
        {
            state = self.shared.changed.wait_timeout(state, LOOK).expect("no thread panicked").0;
        }
        state.phase == Phase::Cut
    }

    /// The way is open again, and nothing is counted.
    pub fn mend(&self) {
        let mut state = self.shared.state();
        (state.armed, state.phase) = (None, Phase::Open);
    }
}

/// What becomes of a command.
enum Fate {
    Passes,
    IsTheLast,
    IsLost,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panicked")
    }

    fn set(&self, phase: Phase) {
        self.state().phase = phase;
        self.changed.notify_all();
    }

    fn pass_on(self: &Arc<Self>, client: TcpStream, server: TcpStream) -> std::io::Result<()> {
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(LOOK))?;
        }
        let (from, to) = (client.try_clone()?, server.try_clone()?);
        let there = self.clone();
        thread::spawn(move || there.commands(from, to));
        let back = self.clone();
        thread::spawn(move || back.answers(server, client));
        Ok(())
    }

    /// Until one side closes, or the way is cut.
    fn commands(&self, mut client: TcpStream, mut server: TcpStream) {
        let mut waiting = Vec::new();
        let mut bytes = [0; 65_536];
        while self.state().phase == Phase::Open {
            match client.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => waiting.extend_from_slice(&bytes[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(_) => break,
            }
            while let Some((length, counts)) = self.protocol.command(&waiting) {
                let command: Vec<u8> = waiting.drain(..length).collect();
                match self.fate(counts) {
                    Fate::Passes if server.write_all(&command).is_ok() => {}
                    Fate::IsTheLast if server.write_all(&command).is_ok() => {
                        // What was sent before the end is done before it is noticed.
                        let _ = server.shutdown(Shutdown::Write);
                        return;
                    }
                    _ => {
                        let _ = server.shutdown(Shutdown::Both);
                        let _ = client.shutdown(Shutdown::Both);
                        return;
                    }
                }
            }
        }
        if self.state().phase != Phase::Closing {
            let _ = server.shutdown(Shutdown::Both);
        }
    }

    fn fate(&self, counts: bool) -> Fate {
        let mut state = self.state();
        if state.phase != Phase::Open {
            return Fate::IsLost;
        }
        if !counts {
            return Fate::Passes;
        }
        state.counted += 1;
        state.last = Instant::now();
        let fate = match state.armed {
            Some((n, moment)) if n == state.counted => match moment {
                Moment::Before => {
                    state.phase = Phase::Cut;
                    Fate::IsLost
                }
                Moment::After => {
                    state.phase = Phase::Closing;
                    Fate::IsTheLast
                }
            },
            _ => Fate::Passes,
        };
        drop(state);
        self.changed.notify_all();
        fate
    }

    /// Until one side closes, or the way is cut.
    fn answers(&self, mut server: TcpStream, mut client: TcpStream) {
        let mut bytes = [0; 65_536];
        loop {
            match server.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => {
                    let is_heard = self.state().phase == Phase::Open;
                    if is_heard && client.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.state().phase == Phase::Cut {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        // The connection with the last command has been closed by the server, which has done it.
        if self.state().phase == Phase::Closing {
            self.set(Phase::Cut);
        }
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    }
}

impl Protocol {
    /// How long the first command of `bytes` is, and whether it counts; `None` if it is not whole.
    fn command(self, bytes: &[u8]) -> Option<(usize, bool)> {
        match self {
            Self::Redis => {
                let (length, name) = redis_command(bytes)?;
                let name = String::from_utf8_lossy(name).to_ascii_uppercase();
                Some((length, !NOT_COUNTED.contains(&name.as_str())))
            }
            Self::MongoDb => {
                let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
                let message = bytes.get(..length)?;
                // A head of 16 bytes, flags, the kind of the first section, the length of its document and the type of
                // its first member, whose name is that of the command.
                let is_message = message.get(12..16) == Some(&2_013_u32.to_le_bytes()[..]);
                let name =
                    message.get(26..).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
                Some((length, is_message && COUNTED.iter().any(|counted| counted.as_bytes() == name)))
            }
        }
    }
}

/// An array of strings: how long it is, and its first string.
fn redis_command(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (mut at, count) = line(bytes, 0)?;
    let mut name: &[u8] = &[];
    for number in 0..count {
        let (start, length) = line(bytes, at)?;
        at = start + length + 2;
        let text = bytes.get(start..at)?;
        if number == 0 {
            name = &text[..length];
        }
    }
    Some((at, name))
}

/// A line of a letter and a number: where it ends, and the number.
fn line(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = bytes.get(at + 1..)?;
    let length = rest.windows(2).position(|two| two == b"\r\n")?;
    let number = std::str::from_utf8(&rest[..length]).ok()?.parse().ok()?;
    Some((at + 1 + length + 2, number))
}

#[cfg(test)]
mod tests {
    use super::{Protocol, redis_command};

    #[test]
    fn commands_are_told_apart_and_counted() {
        let two = b"*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n*1\r\n$4\r\nPING\r\n";
        assert_eq!(redis_command(two), Some((23, &b"GET"[..])));
        assert_eq!(Protocol::Redis.command(&two[23..]), Some((14, false)));
        for length in 0..23 {
            assert_eq!(redis_command(&two[..length]), None, "{length}");
        }
        let message = |name: &str| {
            let mut bytes = vec![0; 26];
            bytes[12..16].copy_from_slice(&2_013_u32.to_le_bytes());
            bytes.extend(name.as_bytes());
            bytes.push(0);
            let length = u32::try_from(bytes.len()).unwrap();
            bytes[..4].copy_from_slice(&length.to_le_bytes());
            bytes
        };
        assert_eq!(Protocol::MongoDb.command(&message("insert")), Some((33, true)));
        assert_eq!(Protocol::MongoDb.command(&message("hello")), Some((32, false)));
        assert_eq!(Protocol::MongoDb.command(&message("insert")[..32]), None);
    }
}
