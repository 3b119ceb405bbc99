//! An id that the caller chose is used again: what was meant for one session never reaches the next.

use super::*;

fn external() -> SessionId {
    SessionId::external("an-id-that-is-used-again").unwrap()
}

fn of(user_id: &str) -> NewSession {
    NewSession { id: Some(external()), ..new(Some(user_id)) }
}

#[tokio::test]
async fn what_was_read_of_one_session_is_not_written_into_the_next() {
    let engine = engine(Rules::default());
    engine.sessions.create(of("alice")).await.unwrap();
    let alices = engine.sessions.find(holder(&external())).await.unwrap();
    engine.sessions.end(holder(&external())).await.unwrap();
    // In the same millisecond, at the same version.
    engine.sessions.create(of("bob")).await.unwrap();
    let change = Change {
        data: Some(Data::parse(r#"{"secret":"of alice"}"#).unwrap()),
        ..engine.sessions.reset(&alices)
    };
    for unless in [Unless::Gone, Unless::Changed, Unless::Written] {
        let written = engine.sessions.write(&alices, unless, &change).await.unwrap();
        assert_eq!(written, Updated::Missing, "{unless:?}");
    }
    let deleted = engine.sessions.delete(&[Target::incarnation(alices.handle, alices.mark)]).await.unwrap();
    assert!(deleted.is_empty());
    let bobs = engine.sessions.find(holder(&external())).await.unwrap();
    assert_eq!((bobs.user_id.as_deref(), bobs.data.as_str(), bobs.version), (Some("bob"), "{}", 1));
}

#[tokio::test]
async fn a_tag_of_one_session_is_not_met_by_the_next() {
    let engine = engine(Rules::default());
    let (_, alices) = engine.sessions.create(of("alice")).await.unwrap();
    engine.sessions.end(holder(&external())).await.unwrap();
    let (_, bobs) = engine.sessions.create(of("bob")).await.unwrap();
    assert_eq!(alices.version, bobs.version);
    let update = Update::Replace(Data::empty());
    let meant_for = |record: &Record| Precondition::Versions(vec![(record.version, record.mark)]);
    let refused = engine.sessions.update(holder(&external()), &update, &meant_for(&alices)).await;
    assert!(matches!(refused, Err(Error::Changed { version: 1 })), "{refused:?}");
    engine.sessions.update(holder(&external()), &update, &meant_for(&bobs)).await.unwrap();
}
