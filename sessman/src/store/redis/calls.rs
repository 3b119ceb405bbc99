//! Commands on their way to the servers that have their keys, and again to another one where a key has moved.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, Value};
use tokio::time::Instant;

use super::failure::Trouble;
use super::link::Link;
use super::reply::Answer;
use super::scripts::Step;
use super::server_url::Address;
use super::servers::{Layout, Servers};

/// Whoever asks whether servers are there waits less: those who probe a host give it a second.
const PING_LIMIT: Duration = Duration::from_millis(900);

/// A call that was sent on more often goes round in circles.
const REDIRECTIONS: usize = 5;

impl Servers {
    /// Sends a command about one key to the server that has it.
    pub(super) async fn call(
        self: &Arc<Self>,
        key: &[u8],
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Value, Trouble> {
        self.route(key, command, deadline).await?.map_err(Trouble::from)
    }

    /// Runs a script of one key where that key is.
    pub(super) async fn run<A: AsRef<[u8]>>(
        self: &Arc<Self>,
        step: &Step,
        key: &[u8],
        arguments: &[A],
        deadline: Instant,
    ) -> Result<Value, Trouble> {
        match self.route(key, &step.by_hash(key, arguments), deadline).await? {
            Ok(value) => Ok(value),
            // It was started anew, or is new in the cluster.
            Err(refusal) if refusal.code == "NOSCRIPT" => {
                self.call(key, &step.in_full(key, arguments), deadline).await
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// As [`run`](Self::run), for what must not be undone by a failover: answered once as many replicas have it as the
    /// settings say. With [`Trouble::NotReplicated`] it is done all the same.
    pub(super) async fn run_durably<A: AsRef<[u8]>>(
        self: &Arc<Self>,
        step: &Step,
        key: &[u8],
        arguments: &[A],
        deadline: Instant,
    ) -> Result<Value, Trouble> {
        if !self.waits_for_replicas() {
            return self.run(step, key, arguments, deadline).await;
        }
        // That a server does not know the script would be heard after the wait for its replicas, and there is no time for two.
        let command = step.in_full(key, arguments);
        self.route_as(key, &command, true, deadline).await?.map_err(Trouble::from)
    }

    /// Sends a command a key, each to the server that has it, many at once. The answers are in their order; who can use some
    /// of them without the others asks [`call_each_apart`](Self::call_each_apart).
    pub(super) async fn call_each(
        self: &Arc<Self>,
        commands: &[(Vec<u8>, Cmd)],
        deadline: Instant,
    ) -> Result<Vec<Answer>, Trouble> {
        self.each(commands, deadline).await?.into_iter().collect()
    }

    /// As [`call_each`](Self::call_each), and where a server does not answer, the commands for the others have their answers.
    pub(super) async fn call_each_apart(
        self: &Arc<Self>,
        commands: &[(Vec<u8>, Cmd)],
        deadline: Instant,
    ) -> Result<Vec<Result<Value, Trouble>>, Trouble> {
        let answers = self.each(commands, deadline).await?;
        Ok(answers.into_iter().map(|answer| answer?.map_err(Trouble::from)).collect())
    }

    async fn each(
        self: &Arc<Self>,
        commands: &[(Vec<u8>, Cmd)],
        deadline: Instant,
    ) -> Result<Vec<Result<Answer, Trouble>>, Trouble> {
        let layout = self.layout(deadline).await?;
        let mut answers: Vec<Result<Answer, Trouble>> = vec![Err(Trouble::NoMaster); commands.len()];
        let mut shares: BTreeMap<Address, (Arc<Link>, Vec<usize>)> = BTreeMap::new();
        for (index, (key, _)) in commands.iter().enumerate() {
            if let Ok(link) = self.master_of(&layout, key) {
                let share = shares.entry(link.address().clone()).or_insert_with(|| (link, Vec::new()));
                share.1.push(index);
            }
        }
        let asking = shares.into_values().map(|(link, indexes)| async move {
            let share: Vec<&Cmd> = indexes.iter().map(|index| &commands[*index].1).collect();
            let answers = link.send_all(&share, deadline).await;
            (indexes, answers.inspect_err(|_| self.look_again(None)))
        });
        for (indexes, share) in join_all(asking).await {
            match share {
                Ok(share) => {
                    for (index, answer) in indexes.into_iter().zip(share) {
                        answers[index] = Ok(answer);
                    }
                }
                Err(trouble) => indexes.into_iter().for_each(|index| answers[index] = Err(trouble.clone())),
            }
        }
        // Whoever does not have a key any more has not done what it was asked.
        let asking = answers.into_iter().zip(commands).map(|(answer, (key, command))| async move {
            match answer {
                Ok(Err(refusal)) if refusal.place.is_some() => self.route(key, command, deadline).await,
                other => other,
            }
        });
        Ok(join_all(asking).await)
    }

    /// Sends commands, and the last of them so that it is executed after the others: what is for its server goes there
    /// together with it, as a server keeps the order; in a cluster that is done once the others have answers, and not at all
    /// if one of them was refused. So the last answer is that of the last command if there are as many as commands.
    pub(super) async fn call_in_order(
        self: &Arc<Self>,
        commands: &[(Vec<u8>, Cmd)],
        deadline: Instant,
    ) -> Result<Vec<Answer>, Trouble> {
        let Some((last, others)) = commands.split_last() else { return Ok(Vec::new()) };
        let layout = self.layout(deadline).await?;
        let home = self.master_of(&layout, &last.0)?;
        let is_elsewhere = |(key, _): &&(Vec<u8>, Cmd)| {
            self.master_of(&layout, key).map_or(true, |link| link.address() != home.address())
        };
        let (elsewhere, mut together): (Vec<_>, Vec<_>) = others.iter().partition(is_elsewhere);
        let mut answers = Vec::new();
        if !elsewhere.is_empty() {
            let elsewhere: Vec<(Vec<u8>, Cmd)> = elsewhere.into_iter().cloned().collect();
            answers = self.call_each(&elsewhere, deadline).await?;
            if answers.iter().any(Result::is_err) {
                return Ok(answers);
            }
        }
        together.push(last);
        let sent: Vec<&Cmd> = together.iter().map(|(_, command)| command).collect();
        let sent = home.send_all(&sent, deadline).await;
        let sent = sent.inspect_err(|_| self.look_again(None))?;
        for ((key, command), answer) in together.into_iter().zip(sent) {
            let moved = answer.as_ref().err().and_then(|refusal| self.place(refusal, home.address()));
            answers.push(match (moved, &*layout) {
                // It is of a cluster by now. Followed, one of them might fail, and it could not be said what became of the
                // others.
                (Some(other), Layout::Single(_)) => {
                    self.look_again(Some(other.address().clone()));
                    answer
                }
                (Some(_), Layout::Cluster(_)) => self.route(key, command, deadline).await?,
                (None, _) => answer,
            });
        }
        Ok(answers)
    }

    /// Runs a script for each of several keys, many at once. The answers are in their order; where a server does not
    /// answer, the keys of the others have theirs.
    pub(super) async fn run_each<A: AsRef<[u8]>>(
        self: &Arc<Self>,
        step: &Step,
        calls: &[(Vec<u8>, Vec<A>)],
        deadline: Instant,
    ) -> Result<Vec<Result<Value, Trouble>>, Trouble> {
        let command = |(key, arguments): &(Vec<u8>, Vec<A>)| (key.clone(), step.by_hash(key, arguments));
        let commands: Vec<(Vec<u8>, Cmd)> = calls.iter().map(command).collect();
        let answers = self.call_each_apart(&commands, deadline).await?;
        let again = answers.into_iter().zip(calls).map(|(answer, (key, arguments))| async move {
            match answer {
                // As in `run`.
                Err(Trouble::Refused(refusal)) if refusal.code == "NOSCRIPT" => {
                    self.call(key, &step.in_full(key, arguments), deadline).await
                }
                answer => answer,
            }
        });
        Ok(join_all(again).await)
    }

    /// Whether each server can be reached and written to, by keys that begin with `prefix` and are never there.
    pub(super) async fn ping(self: &Arc<Self>, prefix: &[u8], deadline: Instant) -> Result<(), Trouble> {
        let deadline = deadline.min(Instant::now() + PING_LIMIT);
        let layout = self.layout(deadline).await?;
        let keys = match &*layout {
            Layout::Single(_) => vec![prefix.to_vec()],
            Layout::Cluster(slots) => slots.a_key_of_each(prefix),
        };
        // A write that finds nothing to write to: a replica, a login that may not write and a full memory refuse it, too.
        let write = |key: Vec<u8>| {
            let mut command = redis::cmd("SET");
            command.arg(&key).arg("").arg("XX");
            (key, command)
        };
        let commands: Vec<(Vec<u8>, Cmd)> = keys.into_iter().map(write).collect();
        let answers = self.call_each_apart(&commands, deadline).await?;
        let of = answers.len();
        let mut troubles: Vec<Trouble> = answers.into_iter().filter_map(Result::err).collect();
        if let Layout::Cluster(slots) = &*layout
            && slots.without_master() > 0
        {
            self.look_again(None);
            troubles.push(Trouble::Uncovered(slots.without_master()));
        }
        match troubles.len() {
            0 => Ok(()),
            failed if failed < of => Err(Trouble::InPart(troubles)),
            _ => Err(troubles.swap_remove(0)),
        }
    }

    async fn route(
        self: &Arc<Self>,
        key: &[u8],
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Answer, Trouble> {
        self.route_as(key, command, false, deadline).await
    }

    async fn route_as(
        self: &Arc<Self>,
        key: &[u8],
        command: &Cmd,
        durably: bool,
        deadline: Instant,
    ) -> Result<Answer, Trouble> {
        let layout = self.layout(deadline).await?;
        let mut link = self.master_of(&layout, key)?;
        let mut is_visitor = false;
        for _ in 0..=REDIRECTIONS {
            let answer = match (durably, is_visitor) {
                (false, false) => link.send(command, deadline).await,
                (false, true) => visit(&link, command, deadline).await,
                (true, false) => link.send_durably(vec![command.clone()], deadline).await,
                (true, true) => {
                    link.send_durably(vec![redis::cmd("ASKING"), command.clone()], deadline).await
                }
            };
            let answer = answer.inspect_err(|trouble| {
                if !matches!(trouble, Trouble::NotReplicated(..)) {
                    self.look_again(None);
                }
            })?;
            let Err(refusal) = answer else { return Ok(answer) };
            let Some(next) = self.place(&refusal, link.address()) else {
                if ["READONLY", "CLUSTERDOWN", "MASTERDOWN"].contains(&refusal.code.as_str()) {
                    self.look_again(None);
                }
                return Ok(Err(refusal));
            };
            is_visitor = refusal.code == "ASK";
            if !is_visitor {
                self.look_again(Some(next.address().clone()));
            }
            link = next;
        }
        Err(Trouble::NoMaster)
    }
}

/// Sends a command to a server that a key is moving to.
async fn visit(link: &Link, command: &Cmd, deadline: Instant) -> Result<Answer, Trouble> {
    let mut answers = link.send_all(&[&redis::cmd("ASKING"), command], deadline).await?;
    answers.pop().ok_or(Trouble::NoMaster)
}
