//! The connections to one server: one for all calls, and a second one for writes that wait for replicas.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use redis::Cmd;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::{Instant, timeout_at};

use super::clocks::Clocks;
use super::durable::{self, Durable, Write};
use super::failure::{Refusal, Server, Trouble};
use super::greeting::{self, Role, greet};
use super::hazards::Hazards;
use super::line::{Connection, Due, Line};
use super::reply::Answer;
use super::server_url::Address;
use super::settings::Settings;
use super::stream;
use super::wire::{Lost, Wire};

/// The most calls in progress to one server: so calls to a server that hangs are bounded, and do not starve the others.
const MAX_CALLS: usize = 1_024;

/// How long a server counts as unhealthy after it failed to reply.
const SUFFERING: Duration = Duration::from_secs(5);

/// A server also counts as unhealthy if calls have waited this long without any reply: so new sessions go to another one
/// before the first call has failed.
const STILL: Duration = Duration::from_millis(300);

/// Information about servers that is gathered on the side.
#[derive(Default)]
pub(super) struct Knowledge {
    /// Settings that lose sessions.
    pub(super) hazards: Arc<Hazards>,
    /// Clock skew.
    pub(super) clocks: Clocks,
}

/// The connections to one server.
pub(super) struct Link {
    address: Address,
    server: Server,
    settings: Arc<Settings>,
    knowledge: Arc<Knowledge>,
    line: Line,
    /// For writes that wait for replicas.
    durable_line: Line,
    durable: Durable,
    calls: Semaphore,
    made: Instant,
    /// When it last failed to reply, in milliseconds after this was made; 0 if it has replied since.
    silent_at: AtomicU64,
}

impl Link {
    pub(super) fn new(address: Address, settings: Arc<Settings>, knowledge: Arc<Knowledge>) -> Self {
        let server = Server::at(address.to_string().into());
        Self {
            address,
            server,
            settings,
            knowledge,
            line: Line::default(),
            durable_line: Line::default(),
            durable: Durable::default(),
            calls: Semaphore::new(MAX_CALLS),
            made: Instant::now(),
            silent_at: AtomicU64::new(0),
        }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Whether it is unhealthy: it failed to reply in the last seconds, or is not replying now.
    pub(super) fn is_suffering(&self) -> bool {
        self.was_silent_lately() || self.line.stands_still(STILL)
    }

    fn was_silent_lately(&self) -> bool {
        let at = self.silent_at.load(Ordering::Relaxed);
        at != 0 && self.made.elapsed() < Duration::from_millis(at) + SUFFERING
    }

    /// Sends one command, without retries.
    pub(super) async fn send(&self, command: &Cmd, deadline: Instant) -> Result<Answer, Trouble> {
        let _permit = self.permit(deadline).await?;
        let line = &self.line;
        let connection = self.connection(line, deadline).await?;
        let due = connection.due();
        if due.is_any() {
            let mut answers = self.ask(line, &connection, due, &[command], deadline).await?;
            return answers.pop().ok_or_else(|| self.trouble(Lost::Malformed));
        }
        let sent = connection.wire.send(command, deadline).await;
        let answer = sent.map_err(|lost| self.lost(line, &connection, lost))?;
        Ok(self.heed(line, &connection, answer))
    }

    /// Sends several commands in one pipeline, without retries. The replies are in their order.
    pub(super) async fn send_all(
        &self,
        commands: &[&Cmd],
        deadline: Instant,
    ) -> Result<Vec<Answer>, Trouble> {
        let _permit = self.permit(deadline).await?;
        let connection = self.connection(&self.line, deadline).await?;
        let due = connection.due();
        self.ask(&self.line, &connection, due, commands, deadline).await
    }

    /// Closes the connections once the commands in progress have their replies.
    pub(super) fn close(&self) {
        self.line.close();
        self.durable_line.close();
    }

    /// Sends the commands of one write, without retries; returns the reply to the last one when `wait_replicas` replicas have it.
    pub(super) async fn send_durably(
        self: &Arc<Self>,
        commands: Vec<Cmd>,
        deadline: Instant,
    ) -> Result<Answer, Trouble> {
        let _permit = self.permit(deadline).await?;
        let (sender, answer) = oneshot::channel();
        if self.durable.add(Write { commands, deadline, sender }) {
            let this = Arc::clone(self);
            // In a task of its own: its caller may be cancelled, and others wait for the same group.
            tokio::spawn(async move {
                loop {
                    let writes = this.durable.next();
                    if writes.is_empty() {
                        break;
                    }
                    this.write_durably(writes).await;
                }
            });
        }
        match timeout_at(deadline, answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(self.trouble(Lost::Broken))),
            Err(_) => Err(self.trouble(Lost::Late)),
        }
    }

    /// Sends a group of writes, followed by `WAIT`.
    async fn write_durably(&self, writes: Vec<Write>) {
        let wait = durable::wait(self.settings.wait_replicas);
        let commands: Vec<&Cmd> = writes.iter().flat_map(|write| &write.commands).chain([&wait]).collect();
        let latest = writes.iter().map(|write| write.deadline).max().unwrap_or_else(Instant::now);
        let line = &self.durable_line;
        let sent = async {
            let connection = self.connection(line, latest).await?;
            let due = connection.due();
            self.ask(line, &connection, due, &commands, latest).await
        };
        let sent = sent.await;
        let count = sent.as_ref().ok().and_then(|answers| answers.last().map(durable::count));
        let mut answers = sent.map(Vec::into_iter);
        let wanted = self.settings.wait_replicas;
        for write in writes {
            let answer = match &mut answers {
                Err(trouble) => Err(trouble.clone()),
                Ok(answers) => {
                    let answer = answers.by_ref().take(write.commands.len()).last();
                    match (answer, &count) {
                        // A rejected write was not made, whatever replicas have.
                        (Some(Err(refusal)), _) => Ok(Err(refusal)),
                        (Some(Ok(value)), Some(Ok(count))) if *count >= i64::from(wanted) => Ok(Ok(value)),
                        (Some(Ok(_)), Some(Ok(count))) => {
                            Err(Trouble::NotReplicated(self.server.clone(), *count, wanted))
                        }
                        (Some(Ok(_)), Some(Err(trouble))) => Err(trouble.clone()),
                        (None, _) | (_, None) => Err(self.trouble(Lost::Malformed)),
                    }
                }
            };
            let _ = write.sender.send(answer);
        }
    }

    async fn permit(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, Trouble> {
        // Only a call that has to wait needs a timer.
        if let Ok(permit) = self.calls.try_acquire() {
            return Ok(permit);
        }
        let permit = timeout_at(deadline, self.calls.acquire()).await;
        permit.ok().and_then(Result::ok).ok_or_else(|| self.trouble(Lost::Late))
    }

    /// Sends commands, with the checks that are due before them.
    async fn ask(
        &self,
        line: &Line,
        connection: &Arc<Connection>,
        due: Due,
        commands: &[&Cmd],
        deadline: Instant,
    ) -> Result<Vec<Answer>, Trouble> {
        let role = due.role.map(|question| question.command());
        let time = due.clock.then(|| redis::cmd("TIME"));
        let all: Vec<&Cmd> = role.iter().chain(&time).chain(commands.iter().copied()).collect();
        let asked = (Instant::now(), SystemTime::now());
        let sent = connection.wire.send_all(&all, deadline).await;
        let mut answers = sent.map_err(|lost| self.lost(line, connection, lost))?.into_iter();
        if let Some(question) = due.role
            && answers.next().and_then(|answer| question.read(&answer)) == Some(Role::Replica)
        {
            let replica = Trouble::Replica(self.server.clone());
            line.leave(connection, replica.clone());
            return Err(replica);
        }
        if due.clock {
            let ahead = answers.next().and_then(|time| greeting::ahead(&time, asked));
            self.knowledge.clocks.learn(&self.address, ahead);
        }
        Ok(answers.map(|answer| self.heed(line, connection, answer)).collect())
    }

    /// Drops a connection to a replica, or to a server that shuts down: the same address may now lead to another server.
    fn heed(&self, line: &Line, connection: &Arc<Connection>, answer: Answer) -> Answer {
        self.heard();
        answer.map_err(|refusal| {
            let refusal = Refusal { server: self.server.clone(), ..refusal };
            if ["READONLY", "NOAUTH", "LOADING", "MASTERDOWN"].contains(&refusal.code.as_str()) {
                line.leave(connection, refusal.clone().into());
            }
            refusal
        })
    }

    /// Drops a connection without a reply: its server may be gone, and no later call should wait for it.
    fn lost(&self, line: &Line, connection: &Arc<Connection>, lost: Lost) -> Trouble {
        line.forget(connection);
        if lost == Lost::Late {
            self.was_silent();
        }
        self.trouble(lost)
    }

    fn heard(&self) {
        // Only read in the normal case, as all threads share the cache line.
        if self.silent_at.load(Ordering::Relaxed) != 0 {
            self.silent_at.store(0, Ordering::Relaxed);
        }
    }

    fn was_silent(&self) {
        let at = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.silent_at.store(at.max(1), Ordering::Relaxed);
    }

    fn trouble(&self, lost: Lost) -> Trouble {
        let address = self.address.to_string();
        match lost {
            Lost::Late => Trouble::TimedOut(address),
            Lost::Broken => Trouble::Broken(address),
            Lost::Malformed => Trouble::NotRedis(address),
        }
    }

    async fn connection(&self, line: &Line, deadline: Instant) -> Result<Arc<Connection>, Trouble> {
        if let Some(connection) = line.usable()? {
            return Ok(connection);
        }
        let late = || self.trouble(Lost::Late);
        line.connect(self.was_silent_lately(), late, self.connect(deadline), deadline).await
    }

    async fn connect(&self, deadline: Instant) -> Result<Arc<Connection>, Trouble> {
        let made = async {
            let wire = Wire::new(stream::connect(&self.address, self.settings.tls.as_ref()).await?);
            let greeted =
                greet(&wire, &self.settings, &self.server, |lost| self.trouble(lost), deadline).await?;
            Ok((wire, greeted))
        };
        let made = timeout_at(deadline, made).await.unwrap_or_else(|_| Err(self.trouble(Lost::Late)));
        let (wire, greeted) = made.inspect_err(|_| self.was_silent())?;
        self.heard();
        self.knowledge.clocks.learn(&self.address, greeted.ahead);
        let connection = Arc::new(Connection::new(wire, greeted.question));
        self.knowledge.hazards.look_at(&self.address, Arc::clone(&connection));
        Ok(connection)
    }
}
