//! Places of users, where one of them is damaged.

use std::sync::Mutex;

use super::*;
use crate::store::sqlite::claims;
use crate::store::{Claim, Claimed, Places};

/// Ada has a place that cannot be read between two that can, Eve no other, and of a third the name cannot be read.
const DAMAGE: &str = "
    INSERT INTO claims VALUES (1, 'ada', x'000000000000000000000001'), (2, 'ada', x'07'),
        (3, 'ada', x'000000000000000000000003'), (4, 'eve', x''),
        (5, CAST(x'62ff' AS TEXT), x'000000000000000000000005'), (6, 'zoe', x'000000000000000000000006')";

fn handle(n: u8) -> Handle {
    let mut bytes = [0; 12];
    bytes[11] = n;
    Handle::from(bytes)
}

fn claim(user_id: &str, n: u8, room: usize, moves_last: bool) -> Claim<'_> {
    Claim { user_id, handle: handle(n), room: Some(room), moves_last, earlier: Some(&[]) }
}

#[tokio::test]
async fn a_damaged_place_stands_in_nobodys_way() {
    let folder = TempDir::new().unwrap();
    let store = open_in(&folder);
    store.write(Sql(DAMAGE)).await.unwrap();
    for limit in [1, 2, 3, 100] {
        let (mut users, mut after) = (Vec::new(), None);
        loop {
            let page = store.all_places(after.as_deref(), limit).await.unwrap();
            users.extend(page.users);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let places = |user_id: &str, handles: &[u8]| Places {
            user_id: user_id.into(),
            handles: handles.iter().map(|n| handle(*n)).collect(),
        };
        assert_eq!(users, [places("ada", &[1, 3]), places("zoe", &[6])], "pages of {limit}");
    }
    assert_eq!(store.places("eve").await.unwrap(), []);
    assert_eq!(store.claim(claim("eve", 4, 1, false)).await.unwrap(), Claimed::Done(vec![handle(4)]));
    let ada = |order: [u8; 3]| Claimed::Done(order.map(handle).to_vec());
    assert_eq!(store.claim(claim("ada", 4, 3, false)).await.unwrap(), ada([1, 3, 4]));
    assert_eq!(store.claim(claim("ada", 1, 3, true)).await.unwrap(), ada([3, 4, 1]));
    assert_eq!(store.places("ada").await.unwrap(), [3, 4, 1].map(handle));
    store.close().await;
}

/// What was logged on this thread.
#[derive(Default)]
struct Logged(Mutex<Vec<String>>);

impl tracing::Subscriber for Logged {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = event.metadata().level().to_string();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            line += &format!(" {field}={value:?}");
        });
        self.0.lock().unwrap().push(line);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn a_damaged_place_is_told_with_its_user() {
    let folder = TempDir::new().unwrap();
    let store = open_in(&folder);
    store.write(Sql(DAMAGE)).await.unwrap();
    let connection = connection::to_read(&path_in(&folder)).unwrap();
    let logged = Arc::new(Logged::default());
    tracing::subscriber::with_default(logged.clone(), || claims::all_places(&connection, None, 100).unwrap());
    let lines = logged.0.lock().unwrap().clone();
    let [ada, nameless, eve] = &lines[..] else { panic!("{lines:?}") };
    assert!(ada.starts_with("WARN") && ada.contains("user_id=\"ada\""), "{ada}");
    assert!(eve.starts_with("WARN") && eve.contains("user_id=\"eve\""), "{eve}");
    assert!(nameless.starts_with("WARN") && nameless.contains("user cannot be read"), "{nameless}");
    store.close().await;
}
