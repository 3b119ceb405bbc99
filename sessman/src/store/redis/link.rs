//! The connection to one server: one for all calls, made when it is first needed and again when it broke.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::Cmd;
use tokio::time::{Instant, timeout_at};

use super::config::Settings;
use super::failure::{Refusal, Trouble};
use super::hazards::Hazards;
use super::reply::Answer;
use super::server_url::Address;
use super::servers::CALL_LIMIT;
use super::stream;
use super::wire::{Lost, Wire};

/// The connection to one server.
pub(super) struct Link {
    address: Address,
    settings: Arc<Settings>,
    hazards: Arc<Hazards>,
    open: Mutex<Option<Arc<Wire>>>,
    /// Held by the one that connects.
    connecting: tokio::sync::Mutex<()>,
}

impl Link {
    pub(super) fn new(address: Address, settings: Arc<Settings>, hazards: Arc<Hazards>) -> Self {
        Self { address, settings, hazards, open: Mutex::default(), connecting: tokio::sync::Mutex::default() }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends one command, once.
    pub(super) async fn send(&self, command: &Cmd, deadline: Instant) -> Result<Answer, Trouble> {
        let wire = self.wire(deadline).await?;
        let sent = wire.send(command, deadline).await;
        let answer = sent.map_err(|lost| self.lost(&wire, lost))?;
        self.heed(&wire, &answer);
        Ok(answer)
    }

    /// Sends several commands at once, once. The answers are in their order.
    pub(super) async fn send_all(
        &self,
        commands: &[&Cmd],
        deadline: Instant,
    ) -> Result<Vec<Answer>, Trouble> {
        let wire = self.wire(deadline).await?;
        let sent = wire.send_all(commands, deadline).await;
        let answers = sent.map_err(|lost| self.lost(&wire, lost))?;
        for answer in &answers {
            self.heed(&wire, answer);
        }
        Ok(answers)
    }

    /// Lets go of the connection; commands that are under way get their answers first.
    pub(super) fn close(&self) {
        *self.current() = None;
    }

    /// Gives up a connection to a replica, or to a server that shuts down: behind the same name there may be another
    /// one by now.
    fn heed(&self, wire: &Arc<Wire>, answer: &Answer) {
        let gives_up = |refusal: &Refusal| {
            ["READONLY", "NOAUTH", "LOADING", "MASTERDOWN"].contains(&refusal.code.as_str())
        };
        if answer.as_ref().is_err_and(gives_up) {
            self.forget(wire);
        }
    }

    /// Gives up a connection that gave no answer: should its server be gone without a word, no later call waits for it.
    fn lost(&self, wire: &Arc<Wire>, lost: Lost) -> Trouble {
        self.forget(wire);
        self.trouble(lost)
    }

    fn trouble(&self, lost: Lost) -> Trouble {
        match lost {
            Lost::Late => Trouble::TimedOut(CALL_LIMIT),
            Lost::Broken => Trouble::Broken(self.address.to_string()),
            Lost::Malformed => Trouble::NotRedis(self.address.to_string()),
        }
    }

    fn forget(&self, wire: &Arc<Wire>) {
        self.current().take_if(|current| Arc::ptr_eq(current, wire));
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<Wire>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, unless it is known to have ended.
    fn usable(&self) -> Option<Arc<Wire>> {
        self.current().as_ref().filter(|wire| wire.is_open()).cloned()
    }

    async fn wire(&self, deadline: Instant) -> Result<Arc<Wire>, Trouble> {
        if let Some(wire) = self.usable() {
            return Ok(wire);
        }
        let made = timeout_at(deadline, async {
            let _one = self.connecting.lock().await;
            if let Some(wire) = self.usable() {
                return Ok(wire);
            }
            let wire = Arc::new(self.connect(deadline).await?);
            *self.current() = Some(Arc::clone(&wire));
            self.hazards.look_at(&self.address, Arc::clone(&wire));
            Ok(wire)
        });
        made.await.unwrap_or(Err(Trouble::TimedOut(CALL_LIMIT)))
    }

    async fn connect(&self, deadline: Instant) -> Result<Wire, Trouble> {
        let Settings { tls, username, password, database, .. } = &*self.settings;
        let wire = Wire::new(stream::connect(&self.address, tls.as_ref()).await?);
        let send = async |command: &Cmd| {
            let sent = wire.send(command, deadline).await;
            sent.map_err(|lost| self.trouble(lost))
        };
        if let Some(password) = password {
            let mut login = redis::cmd("AUTH");
            login.arg(username.as_ref()).arg(password.expose());
            if let Err(refusal) = send(&login).await? {
                return Err(self.not_let_in(refusal));
            }
        }
        // Whoever is not let in hears it now, and not from the first call.
        match send(redis::cmd("SELECT").arg(*database)).await? {
            Err(refusal) if *database == 0 && refusal.code == "NOPERM" => Ok(wire),
            Err(refusal) if *database != 0 && refusal.code == "ERR" => Err(Trouble::Permanent(format!(
                "{} has no database {database}; a cluster has only 0",
                self.address
            ))),
            Err(refusal) => Err(self.not_let_in(refusal)),
            Ok(_) => Ok(wire),
        }
    }

    fn not_let_in(&self, refusal: Refusal) -> Trouble {
        match Trouble::from(refusal) {
            Trouble::Refused(refusal) => Trouble::Rejected(self.address.to_string(), refusal.code),
            trouble => trouble,
        }
    }
}
