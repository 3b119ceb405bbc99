//! The way to one server: a connection for all calls, and a second one for writes that wait for replicas.

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

/// Calls under way to one server at once: what waits for one that hangs stays bounded, and takes nothing away from the
/// others.
const MAX_CALLS: usize = 1_024;

/// For so long after it did not answer, a server is one that suffers.
const SUFFERING: Duration = Duration::from_secs(5);

/// A server that lets calls wait for so long without an answer to any is one, too: new sessions go elsewhere at once, and not when
/// the first call has failed.
const STILL: Duration = Duration::from_millis(300);

/// What is known of servers beside their answers.
#[derive(Default)]
pub(super) struct Knowledge {
    /// Settings of theirs that lose sessions.
    pub(super) hazards: Arc<Hazards>,
    /// How far their clocks differ from ours.
    pub(super) clocks: Clocks,
}

/// The way to one server.
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
    /// When it last did not answer, in milliseconds after this was made; 0 if it has answered since.
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

    /// Whether it did not answer in the last seconds, or does not just now.
    pub(super) fn is_suffering(&self) -> bool {
        self.was_silent_lately() || self.line.stands_still(STILL)
    }

    fn was_silent_lately(&self) -> bool {
        let at = self.silent_at.load(Ordering::Relaxed);
        at != 0 && self.made.elapsed() < Duration::from_millis(at) + SUFFERING
    }

    /// Sends one command, once.
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

    /// Sends several commands at once, once. The answers are in their order.
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

    /// Lets go of the connection; commands that are under way get their answers first.
    pub(super) fn close(&self) {
        self.line.close();
        self.durable_line.close();
    }

    /// Sends commands of one write, once, and answers the last of them when as many replicas have it as the settings say.
    pub(super) async fn send_durably(
        self: &Arc<Self>,
        commands: Vec<Cmd>,
        deadline: Instant,
    ) -> Result<Answer, Trouble> {
        let _permit = self.permit(deadline).await?;
        let (sender, answer) = oneshot::channel();
        if self.durable.add(Write { commands, deadline, sender }) {
            let this = Arc::clone(self);
            // Nobody's own: whoever waits may go away, and the others wait for the same.
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

    /// Sends writes, and `WAIT` behind them.
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
                        // What was refused was not done, whatever replicas have.
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
        // Only what has to wait needs a timer.
        if let Ok(permit) = self.calls.try_acquire() {
            return Ok(permit);
        }
        let permit = timeout_at(deadline, self.calls.acquire()).await;
        permit.ok().and_then(Result::ok).ok_or_else(|| self.trouble(Lost::Late))
    }

    /// Sends commands, and before them the questions that are due.
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

    /// Gives up a connection to a replica, or to a server that shuts down: behind the same name there may be another
    /// one by now.
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

    /// Gives up a connection that gave no answer: should its server be gone without a word, no later call waits for it.
    fn lost(&self, line: &Line, connection: &Arc<Connection>, lost: Lost) -> Trouble {
        line.forget(connection);
        if lost == Lost::Late {
            self.was_silent();
        }
        self.trouble(lost)
    }

    fn heard(&self) {
        // Read alone, where nothing is wrong: it is one place for all threads.
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
