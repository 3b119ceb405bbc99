//! Looks for an order of the operations that explains every answer, as Wing and Gong do it, without trying the same twice.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::model::State;
use super::{Action, History, Operation};

/// Orders that are tried at most; a history that takes more is reported, not passed over.
const MAX_TRIED: usize = 2_000_000;

/// Where the search is: what has taken effect so far, and what the session is like then.
#[derive(Clone)]
struct Place {
    done: Vec<u64>,
    /// Answered operations that have not taken effect.
    left: usize,
    state: State,
}

/// What may come next.
struct Next {
    is_seen: bool,
    is_harmless: bool,
    after: Place,
}

impl Place {
    fn has(&self, number: usize) -> bool {
        self.done[number / 64] >> (number % 64) & 1 == 1
    }

    /// After this operation; `None` if it cannot be the next.
    fn after(&self, number: usize, operation: &Operation) -> Option<Self> {
        let (state, answered) = self.state.after(operation);
        if operation.answered.as_ref().is_some_and(|given| *given != answered) {
            return None;
        }
        let mut done = self.done.clone();
        // Nobody asked for it, so that it does not matter how often it happened.
        if !matches!(operation.action, Action::GiveWay(_)) {
            done[number / 64] |= 1 << (number % 64);
        }
        Some(Self { done, left: self.left - usize::from(operation.answered.is_some()), state })
    }
}

/// Whether one session can have given these answers.
///
/// # Errors
/// How far an order comes that comes farthest, and what cannot follow.
pub fn check(history: &History) -> Result<(), String> {
    let mut operations = history.operations.clone();
    operations.sort_by_key(|operation| operation.begun);
    let begin = Place {
        done: vec![0; operations.len().div_ceil(64)],
        left: operations.iter().filter(|operation| operation.answered.is_some()).count(),
        state: history.start.clone(),
    };
    let mut farthest = begin.clone();
    let mut tried = HashSet::new();
    let mut places = vec![begin];
    while let Some(mut place) = places.pop() {
        loop {
            if place.left == 0 {
                return Ok(());
            }
            if !tried.insert((place.done.clone(), place.state.key())) {
                break;
            }
            if tried.len() > MAX_TRIED {
                return Err(format!("not decided after {MAX_TRIED} orders; {} operations", operations.len()));
            }
            if place.left < farthest.left {
                farthest = place.clone();
            }
            let mut unseen: Vec<(&Action, usize)> = Vec::new();
            let mut next: Vec<Next> = Vec::new();
            for number in candidates(&operations, &place) {
                let operation = &operations[number];
                let is_seen = operation.answered.is_some();
                if !is_seen {
                    // One of several will do that differ in nothing; there are thousands of them in a long history.
                    let same = (&operation.action, operation.id);
                    if unseen.contains(&same) {
                        continue;
                    }
                    unseen.push(same);
                }
                let Some(after) = place.after(number, operation) else { continue };
                let has_effect = after.state != place.state;
                // Without an effect it may as well never have happened.
                if !is_seen && !has_effect {
                    continue;
                }
                // All of its user's sessions ended: that is answered whether there was one or not. And `persistent` has no
                // version: what changed nothing here may be what changed it back later, with the same answer.
                let tells = !matches!(
                    operation.action,
                    Action::EndUser(_) | Action::Amend { persistent: Some(_), .. }
                );
                next.push(Next { is_seen, is_harmless: is_seen && !has_effect && tells, after });
            }
            // What changed nothing, as its answer says, may as well come first of all: whatever is possible after the
            // others is so after it.
            match next.iter().position(|next| next.is_harmless) {
                Some(harmless) => place = next.swap_remove(harmless).after,
                None => {
                    // The last one is tried first: one that was answered.
                    next.sort_by_key(|next| next.is_seen);
                    places.extend(next.into_iter().map(|next| next.after));
                    break;
                }
            }
        }
    }
    Err(describe(&operations, &farthest))
}

/// What can take effect next: what was asked for before any of those that are left was answered.
fn candidates<'a>(operations: &'a [Operation], place: &'a Place) -> impl Iterator<Item = usize> + use<'a> {
    let left = || (0..operations.len()).filter(|number| !place.has(*number));
    let first_end = left().filter_map(|number| operations[number].ended).min().unwrap_or(u64::MAX);
    left().take_while(move |number| operations[*number].begun <= first_end)
}

fn describe(operations: &[Operation], place: &Place) -> String {
    let answered = operations.iter().filter(|operation| operation.answered.is_some()).count();
    let mut text = format!(
        "no order explains more than {} of {answered} answers; then the session is {:?}, and none of these can follow:",
        answered - place.left,
        place.state
    );
    for number in candidates(operations, place) {
        if matches!(operations[number].action, Action::GiveWay(_)) {
            continue;
        }
        // Writing to a String does not fail.
        let _ = write!(text, "\n  {:?}", operations[number]);
    }
    text
}
