//! Every field comes back exactly as it went in, whatever the store turns it into.

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use super::*;
use crate::data::MAX_NESTING;
use crate::data::arbitrary::arbitrary;

/// Stores `stored`, and wants it back from each way of reading.
async fn comes_back(store: &dyn Store, stored: Record) {
    create(store, &stored).await;
    let loaded = load_both_ways(store, stored.handle, stored.created_at).await;
    let loaded = loaded.live().expect("the record is there");
    assert_eq!(*loaded, stored, "{}", stored.data.as_str());
    let listed = store
        .list(
            Listing { user_id: stored.user_id.as_deref(), after: None, limit: 100, label: None },
            stored.created_at,
        )
        .await
        .unwrap();
    assert!(listed.items.contains(&stored.summary()), "{}", stored.metadata.as_str());
    let whole = store.records(None, 100, stored.created_at).await.unwrap();
    assert!(whole.items.iter().any(|record| **record == stored), "{}", stored.data.as_str());
    let outlines = store.outlines(&[stored.handle]).await.unwrap();
    assert_eq!(outlines, [Outlined::Found(stored.outline())]);
    let target = Target {
        handle: stored.handle,
        mark: Some(stored.mark),
        secret_hash: Some(stored.secret_hash),
        last_activity: Some(stored.last_activity),
        version: Some(stored.version),
    };
    assert_eq!(store.delete(&[target]).await.unwrap(), [stored.handle]);
}

async fn data_comes_back(store: &dyn Store, texts: &[&str]) {
    for text in texts {
        let stored = data(text);
        assert_eq!(&stored.as_str(), text, "the case is written in canonical form");
        comes_back(store, Record { data: stored, ..record(1) }).await;
    }
}

pub(crate) async fn every_field_comes_back(store: Arc<dyn Store>) {
    let stored = Record {
        handle: Handle::from([0xFF; 12]),
        mark: Mark::from([0xFF; Mark::BYTES]),
        secret_hash: SecretHash::from(std::array::from_fn(|index| index as u8 * 8)),
        user_id: Some("ada".into()),
        auth_time: Some(at(7)),
        data: data(r#"{"cart":[1,2]}"#),
        metadata: data(r#"{"client_ip":"2001:db8::1","user_agent":"Mozilla/5.0 (\"x\")","n":1.0}"#),
        created_at: at(1),
        updated_at: at(22),
        reset_at: at(333),
        last_activity: at(4_444),
        ttl: Duration::from_millis(2_592_000_001),
        expires_at: at(55_555),
        ttl_source: TtlSource::Caller,
        idle: Some(Duration::from_millis(1_234_567)),
        persistent: true,
        labels: labels(&["device", "tenant"], "a:b.$ é"),
        version: 9_007_199_254_740_993,
        mac: Some(Mac(std::array::from_fn(|index| 255 - index as u8))),
    };
    comes_back(&*store, stored.clone()).await;
    let extremes = Record { handle: Handle::from([0; 12]), ttl: Duration::from_millis(1), ..stored.clone() };
    comes_back(&*store, extremes).await;
    comes_back(&*store, Record { ttl_source: TtlSource::Unknown, mac: None, ..stored.clone() }).await;
    for idle in [None, Some(Duration::ZERO)] {
        comes_back(&*store, Record { idle, ..stored.clone() }).await;
    }
    let names: Vec<String> = (0..8).map(|index| format!("name_of_32_characters_it_has__{index}0")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    comes_back(&*store, Record { labels: labels(&names, &"é".repeat(128)), ..stored.clone() }).await;
    let plain = Record { idle: None, persistent: false, labels: Labels::none(), ..stored.clone() };
    comes_back(&*store, plain).await;
    // As a record of layout 1 is read where that had no mark.
    let mark = Mark::of_layout_1(stored.created_at);
    comes_back(&*store, Record { mark, ..stored }).await;
}

pub(crate) async fn every_kind_of_data_comes_back(store: Arc<dyn Store>) {
    let whole_values = ["{}", "[]", "null", "true", "false", "0", "-1.5", r#""""#, r#""text""#];
    data_comes_back(&*store, &whole_values).await;
    let members = [
        r#"{"null":null,"true":true,"false":false,"empty":{},"none":[],"text":""}"#,
        r#"[[],{},[[]],[{}],null,[null,[null]]]"#,
        r#"{"a":{"b":{"c":[1,{"d":null}]}}}"#,
        // What looks like another type, or like a store's own notation, is text or a member like any other.
        r#"["null","1","1.0","true","2026-01-01T00:00:00.000Z","{\"a\":1}"]"#,
        r#"{"$oid":"0123456789abcdef01234567","$date":{"$numberLong":"1"},"$numberLong":"1"}"#,
        r#""\u0000 in the middle, \u0000, and at the end \u0000""#,
        r#""\"\\/\b\f\n\r\t\u001f""#,
        "\"\u{7f} \u{80} \u{2028} \u{feff} \u{fffd} \u{10ffff}\"",
        "{\"text\":\"Grüße, 你好, مرحبا, 😀👩\u{200d}👩\u{200d}👧, e\u{301}é\"}",
    ];
    data_comes_back(&*store, &members).await;
}

pub(crate) async fn generated_data_comes_back(store: Arc<dyn Store>) {
    let mut runner = TestRunner::deterministic();
    let strategy = arbitrary();
    for _ in 0..200 {
        let data = strategy.new_tree(&mut runner).unwrap().current();
        comes_back(&*store, Record { data, ..record(1) }).await;
    }
}

pub(crate) async fn numbers_keep_their_kind(store: Arc<dyn Store>) {
    let texts = [
        "[1,1.0,-1,-1.0,0,0.0,-0.0]",
        "[2147483647,2147483648,-2147483648,-2147483649]",
        "[9007199254740991,9007199254740992,9007199254740993]",
        "[9223372036854775807,-9223372036854775808]",
        "[0.1,0.30000000000000004,1.7976931348623157e+308,5e-324,2.2250738585072014e-308]",
        "[1e+16,123456789.0,1e-7,-2.5e-10]",
        r#"{"int":10,"float":10.0}"#,
    ];
    for text in texts {
        // Not compared with the text itself: how a float is written is not the store's matter.
        comes_back(&*store, Record { data: data(text), ..record(1) }).await;
    }
}

pub(crate) async fn members_keep_their_order(store: Arc<dyn Store>) {
    let texts = [
        r#"{"z":1,"a":2,"m":{"9":1,"10":2,"1":3},"A":[{"y":1,"x":2}],"_id":3,"":4}"#,
        r#"{"b":1,"a":1,"c":1,"aa":1,"ab":1,"0":1}"#,
    ];
    data_comes_back(&*store, &texts).await;
    for text in texts {
        comes_back(&*store, Record { metadata: data(text), ..record(1) }).await;
    }
}

pub(crate) async fn keys_of_every_kind_come_back(store: Arc<dyn Store>) {
    let texts = [
        r#"{"":1}"#,
        r#"{" ":1,"a.b":2,"a":{"b":3},".":4,"..":5,"$":6,"$set":{"x":1},"a$b":7,"$$ROOT":8}"#,
        r#"{"_id":1,"handle":2,"expires_at":3,"data":4,"__proto__":5}"#,
        "{\"ключ\":1,\"😀\":2,\"e\u{301}\":3,\"é\":4}",
        r#"{"\"":1,"\\":2,"\n":3,"\u0001":4}"#,
        r#"{"a/b":1,"~":2,"a[0]":3,"'; DROP TABLE sessions; --":4}"#,
    ];
    data_comes_back(&*store, &texts).await;
}

pub(crate) async fn user_ids_of_every_kind_come_back(store: Arc<dyn Store>) {
    comes_back(&*store, Record { user_id: None, ..record(1) }).await;
    let longest = ["a".repeat(256), "ü".repeat(256), "😀".repeat(256)];
    let kinds =
        ["a", "0", " ", "null", "ada@example.org", "a'b\"c\\d", "$user", "%_*?", "e\u{301}", "é", "İ"];
    for user_id in longest.iter().map(String::as_str).chain(kinds) {
        comes_back(&*store, Record { user_id: Some(user_id.into()), ..record(1) }).await;
    }
}

pub(crate) async fn the_largest_document_comes_back(store: Arc<dyn Store>) {
    const MAX: usize = 262_144;
    let one_text = format!(r#"{{"text":"{}"}}"#, "x".repeat(MAX - 11));
    let mut many_members = String::from("{");
    for n in 0.. {
        let member = format!(r#""key{n}":[{n},{n}.5,null],"#);
        // Room for the last member, which fills up to the limit.
        if many_members.len() + member.len() + 20 > MAX {
            break;
        }
        many_members.push_str(&member);
    }
    let fill = MAX - many_members.len() - r#""fill":""}"#.len();
    many_members.push_str(&format!(r#""fill":"{}"}}"#, "y".repeat(fill)));
    let mut many_items = String::from("[0");
    many_items.push_str(&",0".repeat((MAX - 3) / 2));
    many_items.push(']');
    assert_eq!((one_text.len(), many_members.len()), (MAX, MAX));
    data_comes_back(&*store, &[&one_text, &many_members, &many_items]).await;
}

pub(crate) async fn the_deepest_document_comes_back(store: Arc<dyn Store>) {
    let arrays = format!("{}{}", "[".repeat(MAX_NESTING), "]".repeat(MAX_NESTING));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(MAX_NESTING), "}".repeat(MAX_NESTING));
    let both = format!("{}null{}", r#"[{"b":"#.repeat(MAX_NESTING / 2), "}]".repeat(MAX_NESTING / 2));
    data_comes_back(&*store, &[&arrays, &objects, &both]).await;
}

pub(crate) async fn an_update_brings_every_field_back(store: Arc<dyn Store>) {
    create(&*store, &record(1)).await;
    let text = r#"{"z":1.0,"a":-0.0,"$set":{"a.b":"\u0000"},"big":9223372036854775807,"😀":[{}]}"#;
    let change = Change {
        secret_hash: Some(secret(2)),
        user_id: Some("😀 ada".into()),
        data: Some(data(text)),
        metadata: Some(data(r#"{"b":1,"a":{"$x":2.0}}"#)),
        terms: Some(Terms {
            ttl: Duration::from_millis(9),
            ttl_source: TtlSource::Caller,
            idle: Some(Duration::from_millis(8)),
            persistent: true,
        }),
        labels: Some(labels(&["tenant"], "$set.é")),
        mac: Some(Mac([7; 32])),
        now: at(5),
        times: Times { reset_at: at(6), last_activity: at(7), expires_at: at(8_000) },
    };
    let updated = update(&*store, 1, at_version(1, 1), &change).await;
    assert_eq!(updated, change.applied_to(&record(1)));
    assert_eq!(load(&*store, 1, 10).await, Some(updated));
}
