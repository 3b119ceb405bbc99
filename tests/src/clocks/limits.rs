//! How many sessions of a user live after many logins.

use serde_json::json;

use super::Log;
use super::nodes::{Nodes, Rule, is_there};
use crate::http::Answer;
use crate::races::at_once;

/// Logins at once.
const LOGINS: usize = 12;

/// Many logins of a user at once, spread over the nodes, and once more, when the user has sessions already.
pub(super) fn round(nodes: &Nodes, rule: Rule, number: usize, log: &Log) {
    let user = format!("user-{number}");
    let mut known: Vec<String> = Vec::new();
    for time in 0..2 {
        let before = known.len();
        let answers = at_once(LOGINS, |number| login(nodes, rule, number, &user));
        let answered = let_in(&answers, rule, log);
        known.extend(answered.iter().cloned());
        log.with(|found| found.rounds += 1);
        let what = || format!("{rule:?}, {user}, {} of {LOGINS} let in, {before} before", answered.len());
        let live = live(nodes, rule, &known, log);
        if live.len() > rule.limit {
            log.fault("too many live", || format!("{} live; {}", live.len(), what()));
        }
        let listed = nodes.listed(rule.instance, &user);
        if listed.iter().any(|listed| *listed > rule.limit) {
            log.fault("too many listed", || format!("{listed:?} listed; {}", what()));
        }
        match rule.evicts {
            true if live.len() < answered.len().min(rule.limit) => {
                log.fault("too few live", || format!("{} live; {}", live.len(), what()));
            }
            true => {}
            false => {
                let gone = answered.iter().filter(|id| !live.contains(id)).count();
                if gone > 0 {
                    log.fault("answered, not there", || format!("{gone} are not there; {}", what()));
                }
                let gone = known[..before].iter().filter(|id| !live.contains(id)).count();
                if gone > 0 {
                    log.fault("ended early", || format!("{gone} that lived are gone; {}", what()));
                }
                let is_away = answers.iter().any(|answer| answer.status == 503);
                if time == 0 && answered.is_empty() && !is_away {
                    log.fault("nobody let in", what);
                }
            }
        }
        known = live;
    }
    for (number, id) in known.iter().enumerate() {
        let ended = nodes.client(number).post(&format!("/{}/end", rule.instance), json!({ "token": id }));
        if ended.status != 200 {
            log.unexpected(ended.status, "end of a live session");
        } else if nodes.find(rule.instance, id).contains(&true) {
            log.fault("alive after its end", || format!("{rule:?}, {user}"));
        }
    }
}

/// Logins one after the other, each at another node: the newest live, or the first.
pub(super) fn one_by_one(nodes: &Nodes, rule: Rule, log: &Log) {
    let mut known: Vec<String> = Vec::new();
    for number in 0..2 * rule.limit + 1 {
        let answer = login(nodes, rule, number, "one-by-one");
        let id = let_in(std::slice::from_ref(&answer), rule, log).pop();
        let what = || format!("{rule:?}, login {number} one by one");
        let is_full = known.len() >= rule.limit;
        match id {
            Some(id) => {
                if !is_there(nodes.client(number), rule.instance, &id) {
                    log.fault("answered, not there", || format!("on its own node; {}", what()));
                }
                if is_full && !rule.evicts {
                    log.fault("too many live", || format!("beyond the limit; {}", what()));
                }
                known.push(id);
            }
            None if answer.status == 409 && !is_full => log.fault("nobody let in", what),
            None => continue,
        }
        if rule.evicts && known.len() > rule.limit {
            let evicted = known.remove(0);
            if nodes.find(rule.instance, &evicted).contains(&true) {
                log.fault("too many live", || format!("the oldest lives on; {}", what()));
            }
        }
        for id in &known {
            if nodes.find(rule.instance, id).contains(&false) {
                log.fault("ended early", || format!("one that was not the oldest is gone; {}", what()));
            }
        }
    }
}

fn login(nodes: &Nodes, rule: Rule, number: usize, user: &str) -> Answer {
    nodes.client(number).post(&format!("/{}/new", rule.instance), json!({ "user": user }))
}

/// The ids that were given out.
fn let_in(answers: &[Answer], rule: Rule, log: &Log) -> Vec<String> {
    let mut ids = Vec::new();
    for answer in answers {
        match answer.status {
            201 => ids.push(answer.member("session_id")),
            409 if !rule.evicts => {}
            other => log.unexpected(other, "login"),
        }
    }
    log.with(|found| found.logins += ids.len());
    ids
}

/// Those that live, on which all nodes must agree.
fn live(nodes: &Nodes, rule: Rule, ids: &[String], log: &Log) -> Vec<String> {
    let lives = |id: &&String| {
        let found = nodes.find(rule.instance, id);
        if found.contains(&!found[0]) {
            log.fault("nodes disagree", || format!("{rule:?}: {found:?}"));
        }
        found.contains(&true)
    };
    ids.iter().filter(lives).cloned().collect()
}
