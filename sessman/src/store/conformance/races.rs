//! Calls at the same time: each is one atomic step.

use std::future::Future;

use tokio::sync::Barrier;

use super::*;

/// So many callers meet at once.
const CALLERS: u32 = 16;

/// Runs `call` once for each of [`CALLERS`], all let go together, and gives their results.
pub(super) async fn together<T, Calling>(call: impl Fn(u32) -> Calling) -> Vec<T>
where
    T: Send + 'static,
    Calling: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(Barrier::new(CALLERS as usize));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (start, calling) = (start.clone(), call(caller));
            tokio::spawn(async move {
                start.wait().await;
                calling.await
            })
        })
        .collect();
    let mut results = Vec::new();
    for caller in callers {
        results.push(caller.await.unwrap());
    }
    results
}

pub(super) fn count<T>(results: &[T], is_one: impl Fn(&T) -> bool) -> usize {
    results.iter().filter(|result| is_one(result)).count()
}

pub(crate) async fn no_blind_update_is_lost(store: Arc<dyn Store>) {
    const EACH: u64 = 8;
    create(&*store, &record(1)).await;
    let versions = together(|caller| {
        let store = store.clone();
        async move {
            let mut versions = Vec::new();
            for turn in 0..EACH {
                let change = write(1, &format!("[{caller},{turn}]"));
                versions.push(update(&*store, 1, holder(1), &change).await.version);
            }
            versions
        }
    })
    .await;
    let mut versions = versions.concat();
    versions.sort_unstable();
    let last = 1 + u64::from(CALLERS) * EACH;
    assert_eq!(versions, (2..=last).collect::<Vec<_>>(), "each update had a version of its own");
    assert_eq!(load(&*store, 1, 1).await.unwrap().version, last);
}

pub(crate) async fn one_compare_and_set_wins(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    for version in 1..=5 {
        let results = together(|caller| {
            let store = store.clone();
            async move {
                let expected = at_version(1, version);
                let change = write(1, &caller.to_string());
                (caller, attempt(&*store, 1, expected, &change).await)
            }
        })
        .await;
        let winner = match &results
            .iter()
            .filter(|(_, updated)| matches!(updated, Updated::Done { .. }))
            .collect::<Vec<_>>()[..]
        {
            [(winner, _)] => *winner,
            winners => panic!("{} winners", winners.len()),
        };
        let conflicts = count(&results, |(_, updated)| *updated == Updated::Conflict(version + 1));
        assert_eq!(conflicts, CALLERS as usize - 1);
        let stored = load(&*store, 1, 1).await.unwrap();
        assert_eq!((stored.version, stored.data.as_str()), (version + 1, winner.to_string().as_str()));
    }
}

pub(crate) async fn compare_and_set_with_retries_loses_nothing(store: Arc<dyn Store>) {
    create(&*store, &Record { data: data("0"), ..record(1) }).await;
    together(|_| {
        let store = store.clone();
        async move {
            loop {
                let read = load(&*store, 1, 0).await.unwrap();
                let more = read.data.as_str().parse::<u32>().unwrap() + 1;
                let expected = at_version(1, read.version);
                match attempt(&*store, 1, expected, &write(0, &more.to_string())).await {
                    Updated::Done { .. } => return,
                    Updated::Conflict(_) => {}
                    Updated::Missing => panic!("the record is gone"),
                }
            }
        }
    })
    .await;
    assert_eq!(load(&*store, 1, 0).await.unwrap().data.as_str(), CALLERS.to_string());
}

pub(crate) async fn one_rotation_wins(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    let results = together(|caller| {
        let store = store.clone();
        async move {
            let change = Change { secret_hash: Some(secret(100 + caller)), ..touch(1) };
            attempt(&*store, 1, holder(1), &change).await
        }
    })
    .await;
    assert_eq!(count(&results, |updated| matches!(updated, Updated::Done { .. })), 1);
    assert_eq!(count(&results, |updated| *updated == Updated::Missing), CALLERS as usize - 1);
    let winner = results.iter().position(|updated| matches!(updated, Updated::Done { .. })).unwrap();
    let stored = load(&*store, 1, 1).await.unwrap();
    assert_eq!((stored.secret_hash, stored.version), (secret(100 + winner as u32), 1));
}

/// Creates record 1 from every caller at once; exactly one creates it, and it is that one's.
async fn create_together(store: &Arc<dyn Store>, millis: i64) {
    let results = together(|caller| {
        let store = store.clone();
        async move {
            let mine = Record {
                secret_hash: secret(100 + caller),
                created_at: at(millis),
                expires_at: at(millis + TTL),
                ..record(1)
            };
            store.create(Arc::new(mine), at(millis)).await.unwrap()
        }
    })
    .await;
    assert_eq!(count(&results, |created| *created == Created::Yes), 1);
    let winner = results.iter().position(|created| *created == Created::Yes).unwrap();
    let stored = load(&**store, 1, millis).await.unwrap();
    assert_eq!(stored.secret_hash, secret(100 + winner as u32));
    assert_eq!(counted(&**store, millis).await, (1, 0));
}

pub(crate) async fn one_creation_wins(store: Arc<dyn Store>) {
    create_together(&store, 0).await;
}

pub(crate) async fn one_creation_over_an_expired_record_wins(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    create_together(&store, TTL).await;
}

pub(crate) async fn one_deletion_counts(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    let results = together(|_| {
        let store = store.clone();
        async move { delete(&*store, 1, Some(secret(1))).await }
    })
    .await;
    assert_eq!(count(&results, |deleted| *deleted), 1);
}

pub(crate) async fn nothing_survives_a_deletion(store: Arc<dyn Store>) {
    for n in 0..8 {
        create(&*store, &record(n)).await;
        let deleted = together(|caller| {
            let store = store.clone();
            async move {
                match caller {
                    7 => delete(&*store, n, None).await,
                    _ => {
                        attempt(&*store, n, holder(n), &write(1, "1")).await;
                        false
                    }
                }
            }
        })
        .await;
        assert_eq!(count(&deleted, |deleted| *deleted), 1);
        assert_eq!(load(&*store, n, 1).await, None);
    }
    assert_eq!(counted(&*store, 0).await, (0, 0));
}
