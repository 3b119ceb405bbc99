//! The connection to one server: one for all calls, made when it is first needed and again when it broke.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, Value};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::config::Settings;
use super::failure::{Refusal, Trouble};
use super::hazards::Hazards;
use super::server_url::Address;
use super::servers::CALL_LIMIT;
use super::stream;

/// The connection to one server.
pub(super) struct Link {
    address: Address,
    settings: Arc<Settings>,
    hazards: Arc<Hazards>,
    open: Mutex<Option<Open>>,
    /// Held by the one that connects.
    connecting: tokio::sync::Mutex<()>,
}

/// A connection that has been made.
#[derive(Clone)]
struct Open {
    connection: MultiplexedConnection,
    driver: Arc<Driver>,
}

/// The task that writes commands and reads answers. It ends when the connection breaks, and with the last that uses it.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a server answered, errors included.
pub(super) type Answer = Result<Value, Refusal>;

impl Link {
    pub(super) fn new(address: Address, settings: Arc<Settings>, hazards: Arc<Hazards>) -> Self {
        Self { address, settings, hazards, open: Mutex::default(), connecting: tokio::sync::Mutex::default() }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends one command, once.
    pub(super) async fn send(&self, command: &Cmd, deadline: Instant) -> Result<Answer, Trouble> {
        let mut open = self.in_time(deadline, None, self.connection()).await?;
        let sent = {
            let connection = &mut open.connection.clone();
            let sending = async { Ok(connection.send_packed_command(command).await) };
            self.in_time(deadline, Some(&open), sending).await?
        };
        match sent {
            Ok(value) => Ok(self.answer(value, &mut open)),
            Err(error) => Err(self.broken(&open, &error)),
        }
    }

    /// Sends several commands at once, once. The answers are in their order.
    pub(super) async fn send_all(
        &self,
        commands: &Pipeline,
        deadline: Instant,
    ) -> Result<Vec<Answer>, Trouble> {
        let count = commands.len();
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut open = self.in_time(deadline, None, self.connection()).await?;
        let sent = {
            let connection = &mut open.connection.clone();
            let sending = async { Ok(connection.send_packed_commands(commands, 0, count).await) };
            self.in_time(deadline, Some(&open), sending).await?
        };
        match sent {
            Ok(values) => Ok(values.into_iter().map(|value| self.answer(value, &mut open)).collect()),
            Err(error) => Err(self.broken(&open, &error)),
        }
    }

    /// Lets go of the connection; commands that are under way get their answers first.
    pub(super) fn close(&self) {
        *self.current() = None;
    }

    fn answer(&self, value: Value, open: &mut Open) -> Answer {
        let Value::ServerError(error) = value else { return Ok(value) };
        // A replica now, or a server that shuts down: behind the same name there may be another one by now.
        if ["READONLY", "NOAUTH", "LOADING", "MASTERDOWN"].contains(&error.code()) {
            self.forget(open);
        }
        Err(Refusal::new(&error))
    }

    fn broken(&self, open: &Open, error: &redis::RedisError) -> Trouble {
        self.forget(open);
        self.trouble(error)
    }

    fn trouble(&self, error: &redis::RedisError) -> Trouble {
        Trouble::new(&self.address.to_string(), error)
    }

    /// Waits until the deadline. A connection that gave no answer by then is given up: should its server be gone without
    /// a word, no later call waits for it.
    async fn in_time<T>(
        &self,
        deadline: Instant,
        open: Option<&Open>,
        call: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        timeout_at(deadline, call).await.unwrap_or_else(|_| {
            if let Some(open) = open {
                self.forget(open);
            }
            Err(Trouble::TimedOut(CALL_LIMIT))
        })
    }

    fn forget(&self, open: &Open) {
        let mut current = self.current();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(&current.driver, &open.driver)) {
            *current = None;
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, unless it is known to have ended.
    fn usable(&self) -> Option<Open> {
        self.current().clone().filter(|open| !open.driver.0.is_finished())
    }

    async fn connection(&self) -> Result<Open, Trouble> {
        if let Some(open) = self.usable() {
            return Ok(open);
        }
        let _one = self.connecting.lock().await;
        if let Some(open) = self.usable() {
            return Ok(open);
        }
        let open = self.connect().await?;
        *self.current() = Some(open.clone());
        self.hazards.look_at(&self.address, open.connection.clone());
        Ok(open)
    }

    async fn connect(&self) -> Result<Open, Trouble> {
        let Settings { tls, username, password, database, .. } = &*self.settings;
        let stream = stream::connect(&self.address, tls.as_ref()).await?;
        let mut login = RedisConnectionInfo::default();
        if let Some(username) = username {
            login = login.set_username(username);
        }
        if let Some(password) = password {
            login = login.set_password(password.expose());
        }
        // The limit of a call is ours.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let made = MultiplexedConnection::new_with_config(&login, stream, config).await;
        let (mut connection, driver) = made.map_err(|error| match self.trouble(&error) {
            Trouble::Refused(refusal) => Trouble::Rejected(self.address.to_string(), refusal.code),
            trouble => trouble,
        })?;
        let driver = Arc::new(Driver(tokio::spawn(driver)));
        if *database != 0 {
            let select = connection.send_packed_command(redis::cmd("SELECT").arg(*database)).await;
            if let Value::ServerError(_) = select.map_err(|error| self.trouble(&error))? {
                let reason = format!("{} has no database {database}; a cluster has only 0", self.address);
                return Err(Trouble::Permanent(reason));
            }
        }
        Ok(Open { connection, driver })
    }
}
