//! Records that no key opens: they cannot be read, and must not keep others alive.

use super::*;
use crate::store::sealed::{KEY_BYTES, Keys, SealedStore};

/// Sessions in one store under different keys; `limit` a user.
fn keepers(limit: Option<usize>) -> [Arc<Sessions>; 2] {
    let inner: Arc<dyn Store> = memory();
    [[1; KEY_BYTES], [2; KEY_BYTES]].map(|key| {
        let store = SealedStore::new(Arc::clone(&inner), Keys::new(&[key], false).unwrap());
        let rules = Rules { max_sessions_per_user: limit, ..Rules::default() };
        Arc::new(Sessions::new(Arc::new(store), Arc::new(ManualClock::new(START)), rules))
    })
}

/// Three sessions of ada's, of which the second cannot be read by the first of the keepers.
async fn three(keepers: &[Arc<Sessions>; 2]) -> Vec<SessionId> {
    let mut ids = Vec::new();
    for keeper in [0, 1, 0] {
        ids.push(keepers[keeper].create(new(Some("ada"))).await.unwrap().0);
    }
    let unread = keepers[0].get(holder(&ids[1])).await;
    assert!(matches!(unread, Err(Error::Store(StoreError::Unusable(_)))), "{unread:?}");
    ids
}

async fn count(sessions: &Sessions) -> usize {
    let listing = Listing { user_id: Some("ada"), after: None, limit: 9, label: None };
    sessions.list(listing).await.unwrap().items.len()
}

#[tokio::test]
async fn an_unreadable_session_ends_with_its_user_and_by_its_handle() {
    let keepers = keepers(None);
    three(&keepers).await;
    assert_eq!(keepers[0].end_user("ada".into()).await.unwrap().len(), 3);
    let ids = three(&keepers).await;
    let handles: Vec<Handle> = ids.iter().map(SessionId::handle).collect();
    assert_eq!(keepers[0].end_handles(handles.clone()).await.unwrap(), handles);
    let ids = three(&keepers).await;
    let ended = keepers[0].end_mine(holder(&ids[0]), Ending::Others).await.unwrap();
    assert_eq!(ended.len(), 2);
    assert_eq!(count(&keepers[0]).await, 1);
}

#[tokio::test]
async fn an_unreadable_session_counts_and_gives_way() {
    let keepers = keepers(Some(3));
    three(&keepers).await;
    for _ in 0..3 {
        keepers[0].create(new(Some("ada"))).await.unwrap();
        assert_eq!(count(&keepers[0]).await, 3);
    }
}
