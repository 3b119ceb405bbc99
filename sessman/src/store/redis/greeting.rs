//! The handshake on a new connection: login, database, and the server's role.
//!
//! A replica is not used: its data may be stale, so that an ended session would still exist. A master may become a replica
//! while connected, and then keeps replying to reads. So its role is checked again once a second, in a pipeline with a
//! command. A member of a cluster needs no such check: as a replica it redirects each command to its master.

use std::time::{Duration, SystemTime};

use futures_util::future::{OptionFuture, join4};
use redis::{Cmd, Value};
use tokio::time::Instant;

use super::failure::{Refusal, Server, Trouble};
use super::reply::Answer;
use super::settings::Settings;
use super::values::moment;
use super::wire::{Lost, Wire};

/// The role of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Master,
    Replica,
    /// Of a cluster: a master, or a replica that redirects clients to its master.
    Member,
    Sentinel,
    /// The login may not ask, or it is a proxy that does not say.
    Unknown,
}

/// The command that asks for the role: the first of these that the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Hello,
    /// If the login has no permission for `HELLO`.
    Info,
}

impl Question {
    pub(super) fn command(self) -> Cmd {
        match self {
            Self::Hello => {
                let mut hello = redis::cmd("HELLO");
                hello.arg(2);
                hello
            }
            Self::Info => redis::cmd("INFO"),
        }
    }

    /// The role in the reply; `None` if it does not contain it.
    pub(super) fn read(self, answer: &Answer) -> Option<Role> {
        let value = answer.as_ref().ok()?;
        match (self, value) {
            (Self::Hello, Value::Array(items)) => {
                let text = |name: &[u8]| {
                    let mut pairs = items.chunks_exact(2);
                    let pair =
                        pairs.find(|pair| matches!(&pair[0], Value::BulkString(key) if key == name))?;
                    match &pair[1] {
                        Value::BulkString(text) => std::str::from_utf8(text).ok(),
                        _ => None,
                    }
                };
                role(text(b"mode"), text(b"role"))
            }
            (Self::Info, Value::BulkString(text)) => {
                let info = String::from_utf8_lossy(text);
                let value = |name: &str| {
                    let mut lines = info.lines().filter_map(|line| line.split_once(':'));
                    lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
                };
                role(value("redis_mode").or_else(|| value("server_mode")), value("role"))
            }
            _ => None,
        }
    }
}

fn role(mode: Option<&str>, role: Option<&str>) -> Option<Role> {
    match (mode, role) {
        (Some("sentinel"), _) | (_, Some("sentinel")) => Some(Role::Sentinel),
        (Some("cluster"), _) => Some(Role::Member),
        (_, Some("master")) => Some(Role::Master),
        (_, Some("replica" | "slave")) => Some(Role::Replica),
        _ => None,
    }
}

/// The result of a successful handshake.
#[derive(Debug)]
pub(super) struct Greeted {
    /// How to check the role again; `None` if there is no need, or no reply.
    pub(super) question: Option<Question>,
    /// Milliseconds that its clock is ahead of ours, if known.
    pub(super) ahead: Option<i64>,
}

/// The handshake on a new connection.
pub(super) async fn greet(
    wire: &Wire,
    settings: &Settings,
    name: &Server,
    lost: impl Fn(Lost) -> Trouble,
    deadline: Instant,
) -> Result<Greeted, Trouble> {
    let login = settings.password.as_ref().map(|password| {
        let mut login = redis::cmd("AUTH");
        login.arg(settings.username.as_ref()).arg(password.expose());
        login
    });
    let (hello, time) = (Question::Hello.command(), redis::cmd("TIME"));
    let mut select = redis::cmd("SELECT");
    select.arg(settings.database);
    let asked = (Instant::now(), SystemTime::now());
    // One pipeline, with a reply for each: a server that rejects clients says why only in the first.
    let (login, hello, select, time) = join4(
        OptionFuture::from(login.as_ref().map(|login| wire.send(login, deadline))),
        wire.send(&hello, deadline),
        wire.send(&select, deadline),
        wire.send(&time, deadline),
    )
    .await;
    let ahead = time.ok().and_then(|time| ahead(&time, asked));
    let mine = |answer: Result<Answer, Lost>| {
        let answer = answer.map_err(&lost)?;
        Ok::<Answer, Trouble>(answer.map_err(|refusal| Refusal { server: name.clone(), ..refusal }))
    };
    let login = login.map(&mine).transpose()?;
    let hello = mine(hello)?;
    let mut question = Some(Question::Hello);
    let mut role = Question::Hello.read(&hello);
    if role == Some(Role::Sentinel) {
        return Err(of_a_sentinel(wire, name, deadline).await);
    }
    if let Some(Err(refusal)) = login {
        return Err(not_let_in(refusal));
    }
    // A rejected login fails here, and not in the first call.
    match mine(select)? {
        Err(refusal) if settings.database == 0 && refusal.code == "NOPERM" => {}
        Err(refusal) if settings.database != 0 && refusal.code == "ERR" => {
            return Err(Trouble::Permanent(format!(
                "{name} has no database {}; a cluster has only 0",
                settings.database
            )));
        }
        Err(refusal) => return Err(not_let_in(refusal)),
        Ok(_) => {}
    }
    if role.is_none() {
        question = Some(Question::Info);
        role = Question::Info.read(&mine(wire.send(&Question::Info.command(), deadline).await)?);
    }
    match role.unwrap_or(Role::Unknown) {
        Role::Replica => Err(Trouble::Replica(name.clone())),
        Role::Sentinel => Err(of_a_sentinel(wire, name, deadline).await),
        Role::Master => Ok(Greeted { question, ahead }),
        Role::Member | Role::Unknown => Ok(Greeted { question: None, ahead }),
    }
}

/// Milliseconds that the server's clock is ahead of ours; `None` if the reply took too long to tell.
pub(super) fn ahead(time: &Answer, (asked, wall): (Instant, SystemTime)) -> Option<i64> {
    let took = asked.elapsed();
    let time = time.as_ref().ok()?;
    // The server read its clock some time between request and reply.
    let middle = wall.checked_add(took / 2)?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let theirs = moment(time.clone())?.as_millis();
    (took <= SURE).then(|| theirs.saturating_sub(i64::try_from(middle.as_millis()).unwrap_or(i64::MAX)))
}

/// The longest round trip after which the clock skew is still meaningful.
const SURE: Duration = Duration::from_millis(500);

fn not_let_in(refusal: Refusal) -> Trouble {
    match Trouble::from(refusal) {
        Trouble::Refused(refusal) => Trouble::Rejected(refusal.server, refusal.code),
        trouble => trouble,
    }
}

/// The error for a Sentinel's address: names the addresses to configure in its place.
async fn of_a_sentinel(wire: &Wire, name: &Server, deadline: Instant) -> Trouble {
    let mut command = redis::cmd("SENTINEL");
    command.arg("MASTERS");
    let watched = match wire.send(&command, deadline).await {
        Ok(Ok(Value::Array(masters))) => masters.iter().filter_map(watched).collect(),
        _ => Vec::new(),
    };
    let now = if watched.is_empty() { String::new() } else { format!(" (now {})", watched.join(" or ")) };
    Trouble::Permanent(format!(
        "{name} is a Redis Sentinel, which keeps no sessions: write the address of the server that it watches{now}, or \
         one that leads to that server after a failover, too"
    ))
}

/// The address of a master from a Sentinel's reply.
fn watched(master: &Value) -> Option<String> {
    let Value::Array(items) = master else { return None };
    let text = |name: &[u8]| {
        let mut pairs = items.chunks_exact(2);
        let pair = pairs.find(|pair| matches!(&pair[0], Value::BulkString(key) if key == name))?;
        let Value::BulkString(text) = &pair[1] else { return None };
        String::from_utf8(text.clone()).ok()
    };
    Some(format!("{}:{}", text(b"ip")?, text(b"port")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Value {
        Value::Array(texts.iter().map(|text| Value::BulkString((*text).into())).collect())
    }

    #[test]
    fn what_a_server_is_comes_from_either_answer() {
        for (mode, said, expected) in [
            ("standalone", "master", Some(Role::Master)),
            ("standalone", "replica", Some(Role::Replica)),
            ("standalone", "slave", Some(Role::Replica)),
            ("cluster", "replica", Some(Role::Member)),
            ("cluster", "master", Some(Role::Member)),
            ("sentinel", "", Some(Role::Sentinel)),
            ("standalone", "something", None),
        ] {
            let hello = texts(&["server", "redis", "mode", mode, "role", said]);
            assert_eq!(Question::Hello.read(&Ok(hello)), expected, "{mode} {said}");
            let info = format!("# Server\r\nredis_mode:{mode}\r\n\r\n# Replication\r\nrole:{said}\r\n");
            assert_eq!(Question::Info.read(&Ok(Value::BulkString(info.into()))), expected, "{mode} {said}");
        }
        for question in [Question::Hello, Question::Info] {
            assert_eq!(question.read(&Ok(Value::Okay)), None);
            assert_eq!(question.read(&Err(Refusal::read("NOPERM no"))), None);
        }
    }

    #[test]
    fn the_server_that_a_sentinel_watches_is_found() {
        assert_eq!(
            watched(&texts(&["name", "mymaster", "ip", "10.0.0.7", "port", "6379"])).as_deref(),
            Some("10.0.0.7:6379")
        );
        assert_eq!(watched(&texts(&["name", "mymaster"])), None);
        assert_eq!(watched(&Value::Okay), None);
    }
}
