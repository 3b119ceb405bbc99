use serde_json::{Value, json};

use super::clients::Random;
use super::{Action, Answered, History, Operation, State, check};

fn start() -> State {
    State { id: Some(0), version: 1, data: json!({}) }
}

fn operation(begun: u64, ended: u64, action: Action, answered: Answered) -> Operation {
    Operation { action, id: 0, begun, ended: Some(ended), answered: Some(answered) }
}

fn unanswered(begun: u64, action: Action) -> Operation {
    Operation { action, id: 0, begun, ended: None, answered: None }
}

fn session(version: u64, data: Value) -> Answered {
    Answered::Session { version, data }
}

fn replace(data: u64) -> Action {
    Action::Replace(json!(data), None)
}

fn is_explained(operations: &[Operation]) -> bool {
    check(&History { start: start(), operations: operations.to_vec() }).is_ok()
}

#[test]
fn a_stale_read_is_found_unless_it_overlaps_the_write() {
    let write = operation(10, 20, replace(7), session(2, json!(7)));
    let read = |begun, version, data| operation(begun, begun + 5, Action::Get, session(version, data));
    assert!(is_explained(&[write.clone(), read(18, 1, json!({})), read(30, 2, json!(7))]));
    assert!(!is_explained(&[write.clone(), read(21, 1, json!({}))]));
    // And one that went back after another had seen the new state, both during the write.
    assert!(!is_explained(&[write.clone(), read(11, 2, json!(7)), read(17, 1, json!({}))]));
    assert!(!is_explained(&[write, read(30, 2, json!(8))]));
}

#[test]
fn a_lost_update_is_found() {
    let both = [
        operation(10, 20, Action::Merge("a".into(), json!(1)), session(2, json!({ "a": 1 }))),
        operation(15, 25, Action::Merge("b".into(), json!(1)), session(3, json!({ "a": 1, "b": 1 }))),
    ];
    assert!(is_explained(&both));
    let read = |data| operation(30, 31, Action::Get, session(3, data));
    assert!(is_explained(&[&both[..], &[read(json!({ "a": 1, "b": 1 }))]].concat()));
    assert!(!is_explained(&[&both[..], &[read(json!({ "b": 1 }))]].concat()));
    let lost = operation(15, 25, Action::Merge("b".into(), json!(1)), session(2, json!({ "b": 1 })));
    assert!(!is_explained(&[both[0].clone(), lost]));
}

#[test]
fn a_session_that_lives_after_its_end_is_found() {
    let end = operation(10, 20, Action::End, Answered::Ended);
    let write = |begun| operation(begun, begun + 10, replace(1), session(2, json!(1)));
    assert!(is_explained(&[end.clone(), write(15)]));
    assert!(is_explained(&[end.clone(), operation(25, 26, Action::Get, Answered::Missing)]));
    assert!(!is_explained(&[end.clone(), write(21)]));
    assert!(!is_explained(&[end.clone(), operation(21, 22, Action::End, Answered::Ended)]));
    assert!(!is_explained(&[operation(1, 2, Action::Get, Answered::Missing), end]));
}

#[test]
fn two_winners_of_one_version_are_found() {
    let update = |data: u64, answered| operation(10, 20, Action::Replace(json!(data), Some(1)), answered);
    let won = |data: u64| update(data, session(2, json!(data)));
    assert!(is_explained(&[won(1), update(2, Answered::Changed)]));
    assert!(!is_explained(&[won(1), won(2)]));
    assert!(!is_explained(&[won(1), update(2, session(3, json!(2)))]));
    assert!(!is_explained(&[update(1, Answered::Changed)]));
}

#[test]
fn an_id_that_opens_after_it_was_replaced_is_found() {
    let rotate = operation(10, 20, Action::Rotate(1), session(1, json!({})));
    let get = |id, answered| Operation { id, ..operation(30, 31, Action::Get, answered) };
    assert!(is_explained(&[rotate.clone(), get(0, Answered::Missing), get(1, session(1, json!({})))]));
    assert!(!is_explained(&[rotate.clone(), get(0, session(1, json!({})))]));
    assert!(!is_explained(&[rotate.clone(), get(1, Answered::Missing)]));
    let again = Operation { action: Action::Rotate(2), ..rotate.clone() };
    assert!(!is_explained(&[rotate, again]), "one id has two successors");
}

#[test]
fn what_was_not_answered_may_have_happened_once_or_not_at_all() {
    let read = |begun, version, data| operation(begun, begun + 5, Action::Get, session(version, data));
    let unsure = unanswered(10, replace(7));
    assert!(is_explained(&[unsure.clone(), read(20, 1, json!({}))]));
    assert!(is_explained(&[unsure.clone(), read(20, 1, json!({})), read(500, 2, json!(7))]));
    assert!(!is_explained(&[unsure.clone(), read(20, 2, json!(7)), read(30, 1, json!({}))]));
    assert!(!is_explained(&[unsure.clone(), read(20, 3, json!(7))]));
    assert!(!is_explained(&[unsure, read(3, 2, json!(7))]), "it was not yet asked for");
    // An unanswered rotation leaves an id that nobody knows.
    let rotate = unanswered(10, Action::Rotate(1));
    assert!(is_explained(&[rotate, operation(20, 21, Action::Get, Answered::Missing)]));
}

/// A history of a register that is right: each operation takes effect at a moment within its time, and some answers get lost.
fn made_up(random: &mut Random) -> Vec<Operation> {
    let mut state = start();
    let mut operations = Vec::new();
    for number in 1..60_u64 {
        let action = match random.below(12) {
            0..=3 => Action::Get,
            4 => Action::Touch,
            5 | 6 => replace(number),
            7 | 8 => Action::Replace(json!(number), Some(state.version.saturating_sub(random.below(2)))),
            9 => Action::Merge(format!("m{}", random.below(3)), json!(number)),
            10 => Action::Rotate(number as usize),
            _ if number > 50 => Action::End,
            _ => Action::Get,
        };
        let id = if random.below(8) == 0 { 0 } else { state.id.unwrap_or(0) };
        let moment = number * 100;
        let (begun, ended) = (moment - random.below(300).min(moment), moment + random.below(300));
        let mut operation = Operation { action, id, begun, ended: Some(ended), answered: None };
        let is_lost = random.below(10) == 0;
        if is_lost && random.below(2) == 0 {
            operation.ended = None;
        } else {
            let (after, answered) = state.after(&operation);
            state = after;
            match is_lost {
                true => operation.ended = None,
                false => operation.answered = Some(answered),
            }
        }
        operations.push(operation);
    }
    operations
}

#[test]
fn what_a_right_register_answers_is_explained_and_a_slip_is_found() {
    let mut found = 0;
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut operations = made_up(&mut random);
        assert!(is_explained(&operations), "seed {seed}: {operations:?}");
        // One answer shows a version that the session never had.
        let shown = operations.iter_mut().rev().find_map(|operation| match &mut operation.answered {
            Some(Answered::Session { version, .. }) => Some(version),
            _ => None,
        });
        let Some(version) = shown else { continue };
        *version += 100;
        assert!(!is_explained(&operations), "seed {seed}: {operations:?}");
        found += 1;
    }
    assert!(found > 150, "{found}");
}
