//! A network between a host and its store that can be made bad: slow, narrow, or with connections that break.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

/// How a proxy treats what it passes on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// Each piece waits so long, in each direction.
    pub delay: Duration,
    /// No more than this goes through a connection in each direction.
    pub bytes_per_second: Option<u32>,
}

/// Passes connections on to a server on this machine. Its threads end with the test's process.
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    weather: Mutex<Weather>,
    /// Connections of an earlier number are reset.
    resets: AtomicU64,
    hold: Mutex<Hold>,
}

/// What does not go through for now.
#[derive(Default)]
struct Hold {
    text: Option<&'static str>,
    /// A piece with it has come.
    is_holding: bool,
}

/// How often a connection looks whether it is to be reset.
const LOOK: Duration = Duration::from_millis(20);

impl Proxy {
    /// To the server on this port of 127.0.0.1.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its number").port();
        let state = Arc::new(State::default());
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A server that is away is a connection that ends at once.
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else { continue };
                let _ = shared.pass_on(client, server);
            }
        });
        Self { port, state }
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on.
    pub fn set(&self, weather: Weather) {
        *self.state.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }

    /// From now on a piece with this text waits, and what follows it on its connection, until [`release`](Self::release).
    pub fn hold(&self, text: &'static str) {
        *self.state.hold() = Hold { text: Some(text), is_holding: false };
    }

    /// Whether a piece waits.
    pub fn is_holding(&self) -> bool {
        self.state.hold().is_holding
    }

    /// What was held goes on.
    pub fn release(&self) {
        *self.state.hold() = Hold::default();
    }

    /// Resets all connections that there are.
    pub fn reset(&self) {
        self.state.resets.fetch_add(1, Ordering::SeqCst);
    }
}

impl State {
    fn pass_on(self: &Arc<Self>, client: TcpStream, server: TcpStream) -> std::io::Result<()> {
        let number = self.resets.load(Ordering::SeqCst);
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(LOOK))?;
        }
        for (from, to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
            let state = self.clone();
            thread::spawn(move || state.copy(from, to, number));
        }
        Ok(())
    }

    fn hold(&self) -> MutexGuard<'_, Hold> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holds(&self, piece: &[u8]) -> bool {
        let mut hold = self.hold();
        let holds =
            hold.text.is_some_and(|text| piece.windows(text.len()).any(|part| part == text.as_bytes()));
        hold.is_holding |= holds;
        holds
    }

    /// Until one side closes, or the connection is reset.
    fn copy(&self, mut from: TcpStream, mut to: TcpStream, number: u64) {
        let mut bytes = [0; 4_096];
        loop {
            if self.resets.load(Ordering::SeqCst) != number {
                // Closed so, it is a reset for both.
                let _ = set_socket_linger(&from, Some(Duration::ZERO));
                let _ = set_socket_linger(&to, Some(Duration::ZERO));
                return;
            }
            let count = match from.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(_) => break,
            };
            let Weather { delay, bytes_per_second } =
                *self.weather.lock().unwrap_or_else(PoisonError::into_inner);
            let width = bytes_per_second.map_or(0.0, |rate| count as f64 / f64::from(rate));
            thread::sleep(delay + Duration::from_secs_f64(width));
            while self.holds(&bytes[..count]) {
                thread::sleep(LOOK);
            }
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    }
}
