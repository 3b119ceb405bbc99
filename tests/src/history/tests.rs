use serde_json::{Value, json};

use super::clients::Random;
use super::expiry::{Late, told};
use super::users::{Limited, Lived, Refused};
use super::{Action, Answered, History, Incarnation, Operation, State, Tag, User, check, users};

fn operation(begun: u64, ended: u64, action: Action, answered: Answered) -> Operation {
    Operation { action, id: 0, begun, ended: Some(ended), answered: Some(answered) }
}

fn unanswered(begun: u64, action: Action) -> Operation {
    Operation { action, id: 0, begun, ended: None, answered: None }
}

fn session(version: u64, data: Value) -> Answered {
    Answered::Session { incarnation: 0, version, data, own: State::plain() }
}

fn tag(version: u64) -> Option<Tag> {
    Some(Tag { incarnation: 0, version })
}

fn replace(data: u64) -> Action {
    Action::Replace(json!(data), None)
}

fn is_explained(operations: &[Operation]) -> bool {
    check(&History { start: State::new(), operations: operations.to_vec() }).is_ok()
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
    let update = |data: u64, answered| operation(10, 20, Action::Replace(json!(data), tag(1)), answered);
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
    let mut state = State::new();
    let mut operations = Vec::new();
    for number in 1..60_u64 {
        let action = match random.below(12) {
            0..=3 => Action::Get,
            4 => Action::Touch,
            5 | 6 => replace(number),
            7 | 8 => Action::Replace(json!(number), tag(state.version.saturating_sub(random.below(2)))),
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

/// As [`made_up`], of an id that was chosen, under which there is one session after the other, some of which make room for
/// others of their users.
fn made_up_of_chosen(random: &mut Random) -> Vec<Operation> {
    let mut state = State::none();
    let mut operations = Vec::new();
    for number in 1..80_u64 {
        let user = random.below(3) as User;
        let action = match random.below(14) {
            0..=3 => Action::Get,
            4..=6 => Action::Begin(Incarnation { number, user: Some(user) }, json!({ "of": number })),
            7 | 8 => Action::Merge(format!("m{}", random.below(3)), json!(number)),
            9 => {
                let old = state.incarnation.number.saturating_sub(random.below(2));
                Action::Replace(json!(number), Some(Tag { incarnation: old, version: state.version }))
            }
            10 => replace(number),
            11 => Action::End,
            12 => Action::EndUser(user),
            _ => Action::GiveWay(Some(user)),
        };
        let moment = number * 100;
        let (begun, ended) = (moment - random.below(300).min(moment), moment + random.below(300));
        let mut operation = Operation { action, id: 0, begun, ended: None, answered: None };
        // What nobody asks for happens or not; what is not answered, too.
        let is_lost = random.below(12) == 0 || matches!(operation.action, Action::GiveWay(_));
        if !is_lost || random.below(2) == 0 {
            let (after, answered) = state.after(&operation);
            state = after;
            if !is_lost {
                (operation.ended, operation.answered) = (Some(ended), Some(answered));
            }
        }
        operations.push(operation);
    }
    operations
}

#[test]
fn what_is_right_under_an_id_that_is_used_again_is_explained_and_a_slip_is_found() {
    let mut found = 0;
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut operations = made_up_of_chosen(&mut random);
        assert!(is_explained_of_chosen(&operations), "seed {seed}: {operations:?}");
        // One answer shows the data of another one.
        let shown = operations.iter_mut().rev().find_map(|operation| match &mut operation.answered {
            Some(Answered::Session { data, .. }) => Some(data),
            _ => None,
        });
        let Some(data) = shown else { continue };
        *data = json!({ "of": 1_000 });
        assert!(!is_explained_of_chosen(&operations), "seed {seed}: {operations:?}");
        found += 1;
    }
    assert!(found > 45, "{found}");
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

/// The history of an id that was chosen, under which there is none at first.
fn is_explained_of_chosen(operations: &[Operation]) -> bool {
    check(&History { start: State::none(), operations: operations.to_vec() }).is_ok()
}

fn begin(begun: u64, number: u64, user: User, data: Value) -> Operation {
    let shown =
        Answered::Session { incarnation: number, version: 1, data: data.clone(), own: State::plain() };
    operation(begun, begun + 5, Action::Begin(Incarnation { number, user: Some(user) }, data), shown)
}

fn shown(begun: u64, incarnation: u64, version: u64, data: Value) -> Operation {
    operation(
        begun,
        begun + 5,
        Action::Get,
        Answered::Session { incarnation, version, data, own: State::plain() },
    )
}

#[test]
fn the_merge_of_an_ended_session_into_the_next_one_under_its_id_is_found() {
    let alice = begin(0, 1, 0, json!({ "of": "alice" }));
    let end = operation(20, 25, Action::End, Answered::Ended);
    let bob = begin(30, 2, 1, json!({ "of": "bob" }));
    let merge = |incarnation, version, data: Value| {
        let answered = Answered::Session { incarnation, version, data, own: State::plain() };
        operation(10, 50, Action::Merge("m".into(), json!(1)), answered)
    };
    let with = |merge: Operation| [alice.clone(), end.clone(), bob.clone(), merge];
    assert!(is_explained_of_chosen(&with(merge(1, 2, json!({ "of": "alice", "m": 1 })))));
    assert!(is_explained_of_chosen(&with(merge(2, 2, json!({ "of": "bob", "m": 1 })))));
    assert!(is_explained_of_chosen(&with(operation(
        10,
        50,
        Action::Merge("m".into(), json!(1)),
        Answered::Missing
    ))));
    // Decided about the first, and written into the second, which has the same version.
    assert!(!is_explained_of_chosen(&with(merge(2, 2, json!({ "of": "alice", "m": 1 })))));
    // Also where nobody was answered: the next one sees it.
    let unseen = unanswered(10, Action::Merge("m".into(), json!(1)));
    let seen = |data: Value| [&with(unseen.clone())[..], &[shown(60, 2, 2, data)]].concat();
    assert!(is_explained_of_chosen(&seen(json!({ "of": "bob", "m": 1 }))));
    assert!(!is_explained_of_chosen(&seen(json!({ "of": "alice", "m": 1 }))));
}

#[test]
fn an_entity_tag_of_an_ended_session_that_changes_the_next_one_is_found() {
    let both = [
        begin(0, 1, 0, json!(1)),
        operation(20, 25, Action::End, Answered::Ended),
        begin(30, 2, 1, json!(2)),
    ];
    let update = |answered| {
        let tag = Some(Tag { incarnation: 1, version: 1 });
        [&both[..], &[operation(40, 45, Action::Replace(json!(3), tag), answered)]].concat()
    };
    assert!(is_explained_of_chosen(&update(Answered::Changed)));
    assert!(!is_explained_of_chosen(&update(Answered::Session {
        incarnation: 2,
        version: 2,
        data: json!(3),
        own: State::plain()
    })));
}

#[test]
fn what_changed_nothing_at_first_may_have_changed_it_back() {
    let answered = |version, data: Value, persistent: bool| Answered::Session {
        incarnation: 0,
        version,
        data,
        own: json!({ "labels": {}, "persistent": persistent }),
    };
    let amend = |begun, ended, persistent| {
        let action = Action::Amend { label: "a".into(), value: None, persistent: Some(persistent) };
        operation(begun, ended, action, answered(1, json!({}), persistent))
    };
    let merge = Action::Merge("m".into(), json!(1));
    let mut operations = vec![
        amend(0, 5, true),
        // Under way all the time: after the first it would change nothing, and it is needed after the third.
        amend(1, 100, true),
        amend(10, 20, false),
        operation(12, 18, Action::Get, answered(1, json!({}), false)),
        operation(30, 40, merge, answered(2, json!({ "m": 1 }), true)),
    ];
    assert!(is_explained(&operations));
    operations.remove(1);
    assert!(!is_explained(&operations));
}

#[test]
fn a_label_that_is_lost_and_a_version_that_goes_on_for_nothing_are_found() {
    let amend = |begun, name: &str, value: Option<&str>, version, own: Value| {
        let action =
            Action::Amend { label: name.into(), value: value.map(Into::into), persistent: Some(true) };
        operation(
            begun,
            begun + 5,
            action,
            Answered::Session { incarnation: 0, version, data: json!({}), own },
        )
    };
    let own = |labels: Value| json!({ "labels": labels, "persistent": true });
    let first = amend(0, "a", Some("1"), 2, own(json!({ "a": "1" })));
    let explained =
        |second| check(&History { start: State::new(), operations: vec![first.clone(), second] }).is_ok();
    assert!(explained(amend(10, "b", Some("2"), 3, own(json!({ "a": "1", "b": "2" })))));
    assert!(explained(amend(10, "a", Some("1"), 2, own(json!({ "a": "1" })))));
    assert!(explained(amend(10, "a", None, 3, own(json!({})))));
    assert!(!explained(amend(10, "b", Some("2"), 3, own(json!({ "b": "2" })))));
    assert!(!explained(amend(10, "a", Some("1"), 3, own(json!({ "a": "1" })))));
    assert!(!explained(amend(10, "b", Some("2"), 2, own(json!({ "a": "1", "b": "2" })))));
}

#[test]
fn an_id_that_is_used_twice_at_once_is_found() {
    let first = begin(0, 1, 0, json!(1));
    let exists = operation(10, 15, begin(0, 2, 1, json!(2)).action, Answered::Exists);
    assert!(is_explained_of_chosen(&[first.clone(), exists.clone()]));
    assert!(!is_explained_of_chosen(&[first, begin(10, 2, 1, json!(2))]));
    assert!(!is_explained_of_chosen(&[exists]));
}

#[test]
fn a_place_that_ends_another_users_session_is_found() {
    // A login of user 0 ends what its place names, which is a session of user 1 by now.
    let session = begin(0, 1, 1, json!(1));
    let gone = operation(30, 35, Action::Get, Answered::Missing);
    let login = |user| unanswered(10, Action::GiveWay(Some(user)));
    assert!(!is_explained_of_chosen(&[session.clone(), login(0), gone.clone()]));
    assert!(is_explained_of_chosen(&[session.clone(), login(1), gone.clone()]), "of its own user");
    assert!(!is_explained_of_chosen(&[session.clone(), login(1), gone.clone(), shown(40, 1, 1, json!(1))]));
    // The same for all sessions of a user.
    let end_user = |user| operation(10, 20, Action::EndUser(user), Answered::Done);
    assert!(!is_explained_of_chosen(&[session.clone(), end_user(0), gone.clone()]));
    assert!(is_explained_of_chosen(&[session.clone(), end_user(1), gone]));
    assert!(!is_explained_of_chosen(&[session, end_user(1), shown(30, 1, 1, json!(1))]), "it was not ended");
}

#[test]
fn a_place_that_locks_a_user_out_is_found() {
    let lived = |asked, answered, gone| Lived { user: 0, asked, answered, seen: answered, gone };
    let limited = |lived: &[Lived]| Limited {
        lived: lived.to_vec(),
        refused: vec![Refused { user: 0, begun: 100, ended: 110 }],
    };
    // The first has ended by 50; there is room for one.
    let both = [lived(0, 10, 50), lived(20, 30, u64::MAX)];
    assert_eq!(users::check(&limited(&both), 2, 2).len(), 1);
    assert_eq!(users::check(&limited(&both), 1, 1).len(), 0);
    // While it may not have ended yet, there may be none.
    let both = [lived(0, 10, 105), lived(20, 30, u64::MAX)];
    assert_eq!(users::check(&limited(&both), 2, 2).len(), 0);
    // Another user's are not counted.
    let others = both.map(|lived| Lived { user: 1, ..lived });
    assert_eq!(users::check(&limited(&others), 2, 2).len(), 1);
}

#[test]
fn more_sessions_than_the_limit_are_found() {
    let lived = |answered, seen| Lived { user: 0, asked: answered - 5, answered, seen, gone: u64::MAX };
    let check = |lived: &[Lived], limit| {
        users::check(&Limited { lived: lived.to_vec(), refused: Vec::new() }, limit, limit).len()
    };
    // The first was seen when both of the others had been answered, or was not.
    assert_eq!(check(&[lived(10, 45), lived(20, 60), lived(40, 60)], 2), 1);
    assert_eq!(check(&[lived(10, 35), lived(20, 60), lived(40, 60)], 2), 0);
    assert_eq!(check(&[lived(10, 45), lived(20, 60), lived(40, 60)], 3), 0);
}

#[test]
fn an_update_decided_before_the_expiry_and_done_after_it_is_found() {
    let expires = unanswered(30, Action::GiveWay(None));
    let update = operation(29, 60, replace(7), session(2, json!(7)));
    let get = |begun, answered| operation(begun, begun + 5, Action::Get, answered);
    let alive = |begun| get(begun, session(2, json!(7)));
    // In time, and too late.
    assert!(is_explained(&[expires.clone(), update.clone(), alive(70)]));
    let late = operation(29, 60, replace(7), Answered::Missing);
    assert!(is_explained(&[expires.clone(), late, get(40, Answered::Missing)]));
    // It was told as ended, and lives again.
    assert!(!is_explained(&[expires.clone(), update.clone(), get(40, Answered::Missing), alive(70)]));
    assert!(!is_explained(&[
        expires.clone(),
        unanswered(29, replace(7)),
        get(40, Answered::Missing),
        alive(70)
    ]));
    // Before its time it is there.
    assert!(!is_explained(&[expires, get(20, Answered::Missing)]));
}

#[test]
fn an_update_that_is_undone_may_have_been_seen_before_the_end_and_never_after_its_answer() {
    let expires = unanswered(30, Action::GiveWay(None));
    let undone = operation(10, 60, replace(7), Answered::Missing);
    let get = |begun, answered| operation(begun, begun + 5, Action::Get, answered);
    let alive = |begun| get(begun, session(2, json!(7)));
    let explained = |late, reads: &[Operation]| {
        is_explained(&told([&[expires.clone(), undone.clone()], reads].concat(), late))
    };
    let gone = get(70, Answered::Missing);
    for reads in [&[gone.clone()][..], &[alive(20), gone.clone()], &[alive(20), alive(40), gone.clone()]] {
        assert!(explained(Late::Undone, reads), "{reads:?}");
    }
    // Seen by others for a moment, after the end was told.
    assert!(explained(Late::Undone, &[get(36, Answered::Missing), alive(50), gone.clone()]));
    // Where a late change is never made it is not seen.
    assert!(!explained(Late::Refused, &[alive(20), gone.clone()]));
    // It lives after its answer, with the change or without it.
    assert!(!explained(Late::Undone, &[alive(20), alive(70)]));
    assert!(!explained(Late::Undone, &[get(70, session(1, json!({})))]));
    assert!(!explained(Late::Undone, &[get(36, Answered::Missing), alive(70)]));
    // It was seen, and then it was not there before the end.
    assert!(!explained(Late::Undone, &[alive(12), get(20, session(1, json!({})))]));
    // It was answered as gone before its time.
    let early = operation(10, 25, replace(7), Answered::Missing);
    assert!(!is_explained(&told(vec![expires.clone(), early], Late::Undone)));
}
