mod forger;
mod own_macs;

use super::*;
use crate::id::SecretHash;
use crate::labels::Labels;
use crate::mark::Mark;
use crate::record::{Times, TtlSource};
use crate::store::StoreError;
use crate::store::conformance::{Fixture, conformance_tests};
use crate::store::memory::{MemoryConfig, MemoryStore};
use crate::time::{ManualClock, Timestamp};

const ONE: [u8; KEY_BYTES] = [1; KEY_BYTES];
const TWO: [u8; KEY_BYTES] = [2; KEY_BYTES];
const NOW: Timestamp = Timestamp::from_millis(1_000);

fn memory() -> Arc<dyn Store> {
    // Sealed texts are a third longer, which the largest documents must find room for.
    Arc::new(MemoryStore::new(MemoryConfig::default(), Arc::new(ManualClock::new(NOW))))
}

fn keys(keys: &[[u8; KEY_BYTES]]) -> Keys {
    Keys::new(keys, false).unwrap()
}

fn sealed(inner: &Arc<dyn Store>, keys: Keys) -> SealedStore {
    SealedStore::new(Arc::clone(inner), keys)
}

async fn open() -> Option<Fixture> {
    Some(Fixture::new(own_macs::OwnMacs::new(SealedStore::new(memory(), keys(&[ONE, TWO])))))
}

conformance_tests!(open);

fn record(n: u8) -> Record {
    Record {
        handle: Handle::from([n; 12]),
        mark: Mark::from([n; 8]),
        secret_hash: SecretHash::from([n; 32]),
        user_id: Some("ada".into()),
        auth_time: None,
        data: Data::parse(r#"{"card":"4711 0815"}"#).unwrap(),
        metadata: Data::parse(r#"{"client_ip":"192.0.2.7"}"#).unwrap(),
        created_at: NOW,
        updated_at: NOW,
        reset_at: NOW,
        last_activity: NOW,
        ttl: Duration::from_secs(60),
        ttl_source: TtlSource::Configured,
        idle: None,
        persistent: false,
        labels: Labels::none(),
        expires_at: Timestamp::from_millis(61_000),
        version: 1,
        mac: None,
    }
}

async fn put(store: &dyn Store, record: &Record) {
    assert_eq!(store.create(Arc::new(record.clone()), NOW).await.unwrap(), Created::Yes);
}

/// It is compared with what was put in, which has no MAC.
async fn get_without_mac(store: &dyn Store, n: u8) -> Result<Record> {
    get(store, n).await.map(|record| Record { mac: None, ..record })
}

async fn get(store: &dyn Store, n: u8) -> Result<Record> {
    store.load(Handle::from([n; 12]), NOW).await.map(|record| (*record.live().expect("it is there")).clone())
}

fn reason(result: Result<Record>) -> String {
    match result {
        Err(StoreError::Unusable(reason)) => reason,
        other => panic!("it was not refused: {other:?}"),
    }
}

#[tokio::test]
async fn the_store_inside_never_sees_what_is_in_it() {
    let inner = memory();
    let store = sealed(&inner, keys(&[ONE]));
    put(&store, &record(1)).await;
    let change = Change {
        data: Some(Data::parse(r#"{"card":"1234"}"#).unwrap()),
        ..Change::touch(NOW, Times { reset_at: NOW, last_activity: NOW, expires_at: record(1).expires_at })
    };
    let before = get(&*inner, 1).await.unwrap();
    store.update(&record(1), Unless::Gone, &change).await.unwrap();
    for stored in [before, get(&*inner, 1).await.unwrap()] {
        let texts = format!("{}{}", stored.data.as_str(), stored.metadata.as_str());
        for plain in ["card", "4711", "1234", "client_ip", "192"] {
            assert!(!texts.contains(plain), "{texts}");
        }
        assert!(Data::parse(stored.data.as_str()).is_ok() && stored.metadata.to_value().is_object());
    }
    assert_eq!(get(&store, 1).await.unwrap().data.as_str(), r#"{"card":"1234"}"#);
}

#[tokio::test]
async fn the_same_text_is_never_sealed_the_same_way() {
    let inner = memory();
    let store = sealed(&inner, keys(&[ONE]));
    put(&store, &record(1)).await;
    put(&store, &record(2)).await;
    assert_ne!(get(&*inner, 1).await.unwrap().data, get(&*inner, 2).await.unwrap().data);
}

#[tokio::test]
async fn a_text_that_was_moved_or_changed_does_not_open() {
    let inner = memory();
    let store = sealed(&inner, keys(&[ONE]));
    put(&store, &record(1)).await;
    let stored = get(&*inner, 1).await.unwrap();
    // One character near the end is another one.
    let mut characters: Vec<char> = stored.data.as_str().chars().collect();
    let at = characters.len() - 5;
    characters[at] = if characters[at] == 'A' { 'B' } else { 'A' };
    let flipped: String = characters.into_iter().collect();
    let as_data = |metadata: &Data| {
        let text = metadata.as_str().replace("{\"$sealed\":\"", "\"$sealed:").replace("\"}", "\"");
        Data::from_store(text)
    };
    for (n, data) in
        [(2, stored.data.clone()), (3, Data::from_store(flipped)), (4, Data::from_store("\"$sealed:\""))]
    {
        put(&*inner, &Record { data, ..record(n) }).await;
        let reason = reason(get(&store, n).await);
        assert!(reason.contains("damaged") || reason.contains("not encrypted"), "{reason}");
        assert!(!reason.contains("4711"));
    }
    // The same session's other field, in the place of its data.
    let moved = Record { data: as_data(&stored.metadata), ..stored.clone() };
    inner.delete(&[Target::whatever(stored.handle)]).await.unwrap();
    put(&*inner, &moved).await;
    assert!(reason(get(&store, 1).await).contains("damaged"));
}

#[tokio::test]
async fn keys_are_replaced_one_by_one() {
    let inner = memory();
    put(&sealed(&inner, keys(&[ONE])), &record(1)).await;
    let both = sealed(&inner, keys(&[TWO, ONE]));
    assert_eq!(get_without_mac(&both, 1).await.unwrap(), record(1));
    put(&both, &record(2)).await;
    let new = sealed(&inner, keys(&[TWO]));
    assert_eq!(get_without_mac(&new, 2).await.unwrap(), record(2));
    assert!(reason(get(&new, 1).await).contains("encryption_keys"));
}

#[tokio::test]
async fn what_is_not_sealed_is_read_only_if_that_is_said() {
    let inner = memory();
    put(&*inner, &record(1)).await;
    assert!(reason(get(&sealed(&inner, keys(&[ONE])), 1).await).contains("accept_unencrypted"));
    let accepting = sealed(&inner, Keys::new(&[ONE], true).unwrap());
    assert_eq!(get(&accepting, 1).await.unwrap(), record(1));
    check_unsealed(&get(&*inner, 1).await.unwrap()).unwrap();
}

#[tokio::test]
async fn without_keys_what_is_sealed_is_refused() {
    let inner = memory();
    put(&sealed(&inner, keys(&[ONE])), &record(1)).await;
    let refused = check_unsealed(&get(&*inner, 1).await.unwrap());
    assert!(matches!(refused, Err(StoreError::Unusable(reason)) if reason.contains("no `encryption_keys`")));
}
