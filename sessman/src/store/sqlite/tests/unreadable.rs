//! Rows that this build cannot read: a newer version wrote them, or they are damaged.

use super::*;
use crate::store::{Listing, Outlined, Purged};

/// What is done to a row, and whether its outline, its summary and the whole of it can be read afterwards.
const KINDS: [(&str, [bool; 3]); 6] = [
    ("schema = 3", [false; 3]),
    ("tail = x'FA0000'", [false; 3]),
    ("tail = x'0100'", [false; 3]),
    ("ttl = -1", [false; 3]),
    ("metadata = CAST(x'ff' AS TEXT)", [true, false, false]),
    ("secret_hash = x'07'", [true, true, false]),
];

fn handle(n: u32) -> Handle {
    record(n, 0).handle
}

/// A row of each of the kinds among others that are whole: of the numbers from 0 on, one of two is.
async fn filled(folder: &TempDir) -> SqliteStore {
    let store = open_uncached_in(folder);
    for n in 0..2 * KINDS.len() as u32 {
        create(&store, n).await;
    }
    store.close().await;
    for (n, (change, _)) in (0..).zip(KINDS) {
        let id = 2 * n + 2;
        sql(&path_in(folder), &format!("UPDATE sessions SET {change} WHERE id = {id}"));
    }
    open_in(folder)
}

fn numbers_of(kinds: impl Fn([bool; 3]) -> bool) -> Vec<Handle> {
    let is_of_them = |n: &u32| n % 2 == 1 && kinds(KINDS[*n as usize / 2].1);
    let mut handles: Vec<Handle> = (0..2 * KINDS.len() as u32).filter(is_of_them).map(handle).collect();
    handles.sort_unstable();
    handles
}

#[tokio::test]
async fn one_row_that_cannot_be_read_fails_no_page() {
    let folder = TempDir::new().unwrap();
    let store = filled(&folder).await;
    for user_id in [None, Some("ada")] {
        for limit in [1, 2, 5, 100] {
            let (mut items, mut unread, mut after) = (Vec::new(), Vec::new(), None);
            loop {
                let page = store.list(Listing { user_id, after, limit, label: None }, at(0)).await.unwrap();
                assert!(page.items.len() + page.unread.len() <= limit);
                items.extend(page.items.iter().map(|summary| summary.handle));
                unread.extend(page.unread);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(unread, numbers_of(|[_, summary, _]| !summary), "pages of {limit}");
            assert_eq!(items.len() + unread.len(), 2 * KINDS.len());
        }
    }
    let page = store.records(None, 100, at(0)).await.unwrap();
    assert_eq!((page.items.len(), page.unread), (KINDS.len(), numbers_of(|_| true)));
    assert_eq!(store.counts(at(0), &[at(0)]).await.unwrap().since, [2 * KINDS.len() as u64]);
    store.close().await;
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_deleted_by_its_handle() {
    let folder = TempDir::new().unwrap();
    let store = filled(&folder).await;
    for (n, (change, [outline, _, whole])) in (0..).map(|n| 2 * n + 1).zip(KINDS) {
        let [outlined] = &store.outlines(&[handle(n)]).await.unwrap()[..] else { panic!("one") };
        assert_eq!(matches!(outlined, Outlined::Found(_)), outline, "{change}");
        assert_eq!(matches!(outlined, Outlined::Unreadable), !outline, "{change}");
        assert!(store.load(handle(n), at(0)).await.is_err() && !whole, "{change}");
        let other = Target { secret_hash: Some(SecretHash::from([8; 32])), ..Target::whatever(handle(n)) };
        let not_this = [other, Target::incarnation(handle(n), Mark::from([1; 8]))];
        for target in not_this {
            assert_eq!(store.delete(&[target]).await.unwrap(), [], "{change}");
        }
        assert_eq!(store.delete(&[Target::whatever(handle(n))]).await.unwrap(), [handle(n)], "{change}");
    }
    assert_eq!(store.counts(at(0), &[]).await.unwrap().active, KINDS.len() as u64);
    store.close().await;
}

/// The whole cache is dropped where the file may be damaged, and this is no reason to.
#[tokio::test]
async fn an_update_of_a_row_that_cannot_be_read_leaves_the_others_at_hand() {
    let folder = TempDir::new().unwrap();
    let store = filled(&folder).await;
    assert!(is_stored(&store, 0).await && store.load_now(handle(0), at(0)).is_some());
    let times = Times { reset_at: at(1), last_activity: at(1), expires_at: at(2_000_000) };
    let failed = store.update(&record(1, 0), Unless::Gone, &Change::touch(at(1), times)).await;
    assert!(matches!(failed, Err(StoreError::Unusable(_))), "{failed:?}");
    assert!(store.load_now(handle(0), at(0)).is_some());
    store.close().await;
}

#[tokio::test]
async fn what_cannot_be_read_and_has_expired_is_removed() {
    let folder = TempDir::new().unwrap();
    filled(&folder).await.close().await;
    // Neither of these can be told of by its handle and its user.
    sql(
        &path_in(&folder),
        "UPDATE sessions SET handle = x'07' WHERE id = 1;
         UPDATE sessions SET user_id = CAST(x'ff' AS TEXT) WHERE id = 3",
    );
    let store = open_in(&folder);
    let listed = store.list(Listing { limit: 100, ..Listing::default() }, at(0)).await.unwrap();
    assert!(listed.unread.contains(&handle(2)), "{:?}", listed.unread);
    assert_eq!(
        store.create(record(3, 1), at(1_000_000)).await.unwrap(),
        Created::Yes,
        "in place of that one"
    );
    let purged = store.purge_expired(at(1_000_000), 100).await.unwrap();
    assert!(purged.contains(&Purged { handle: handle(2), user_id: None }), "{purged:?}");
    assert_eq!(purged.len(), 2 * KINDS.len() - 1);
    assert_eq!(store.counts(at(0), &[]).await.unwrap(), Counts::default());
    store.close().await;
}
