//! Sends commands to the servers that have their keys, and follows redirections where a key has moved.

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

/// Deadline of a ping. Shorter than other calls, as health probes usually time out after a second.
const PING_LIMIT: Duration = Duration::from_millis(900);

/// The most redirections of a call: more would be a loop.
const REDIRECTIONS: usize = 5;

impl Servers {
    /// Sends a command on one key to the server that has it.
    pub(super) async fn call(
        self: &Arc<Self>,
        key: &[u8],
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Value, Trouble> {
        self.route(key, command, deadline).await?.map_err(Trouble::from)
    }

    /// Runs a script of one key on the server that has it.
    pub(super) async fn run<A: AsRef<[u8]>>(
        self: &Arc<Self>,
        step: &Step,
        key: &[u8],
        arguments: &[A],
        deadline: Instant,
    ) -> Result<Value, Trouble> {
        match self.route(key, &step.by_hash(key, arguments), deadline).await? {
            Ok(value) => Ok(value),
            // The server restarted, or is new in the cluster.
            Err(refusal) if refusal.code == "NOSCRIPT" => {
                self.call(key, &step.in_full(key, arguments), deadline).await
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Like [`run`](Self::run), for writes that a failover must not lose: acknowledged once `wait_replicas` replicas have it.
    /// After [`Trouble::NotReplicated`] the write was made all the same.
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
        // The whole script: a NOSCRIPT would come only after the wait for the replicas, too late for a retry.
        let command = step.in_full(key, arguments);
        self.route_as(key, &command, true, deadline).await?.map_err(Trouble::from)
    }

    /// Sends a command for each key to the server that has it, pipelined and in parallel. The replies are in their order. Fails
    /// as a whole; [`call_each_apart`](Self::call_each_apart) does not.
    pub(super) async fn call_each(
        self: &Arc<Self>,
        commands: &[(Vec<u8>, Cmd)],
        deadline: Instant,
    ) -> Result<Vec<Answer>, Trouble> {
        self.each(commands, deadline).await?.into_iter().collect()
    }

    /// Like [`call_each`](Self::call_each), but if a server is unreachable, the commands to the others still have their replies.
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
        // A server that no longer has a key did not execute the command, so it is retried.
        let asking = answers.into_iter().zip(commands).map(|(answer, (key, command))| async move {
            match answer {
                Ok(Err(refusal)) if refusal.place.is_some() => self.route(key, command, deadline).await,
                other => other,
            }
        });
        Ok(join_all(asking).await)
    }

    /// Sends commands so that the last is executed after the others. Those for its server go in one pipeline with it, as a
    /// server keeps their order. In a cluster, the others get their replies first, and if one was rejected, the last is not
    /// sent. So the last reply is that of the last command if there are as many replies as commands.
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
                // The server is now part of a cluster. If the redirections were followed, one might fail, and the outcome of the
                // others would be unclear.
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

    /// Runs a script for each of several keys, pipelined and in parallel. The replies are in their order. If a server is
    /// unreachable, the keys of the others still have theirs.
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

    /// Whether each server is reachable and writable, tested with keys that begin with `prefix` and never exist.
    pub(super) async fn ping(self: &Arc<Self>, prefix: &[u8], deadline: Instant) -> Result<(), Trouble> {
        let deadline = deadline.min(Instant::now() + PING_LIMIT);
        let layout = self.layout(deadline).await?;
        let keys = match &*layout {
            Layout::Single(_) => vec![prefix.to_vec()],
            Layout::Cluster(slots) => slots.a_key_of_each(prefix),
        };
        // A write to a missing key changes nothing, but fails on a replica, without write permission, and with full memory.
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

/// Sends a command to a server that a key is migrating to (`ASKING`).
async fn visit(link: &Link, command: &Cmd, deadline: Instant) -> Result<Answer, Trouble> {
    let mut answers = link.send_all(&[&redis::cmd("ASKING"), command], deadline).await?;
    answers.pop().ok_or(Trouble::NoMaster)
}
