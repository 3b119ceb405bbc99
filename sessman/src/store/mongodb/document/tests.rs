use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mongodb::bson::{DateTime, RawDocumentBuf};

use super::super::conditions::targeted;
use super::*;
use crate::store::Target;
use crate::time::Timestamp;

fn record() -> Record {
    Record {
        handle: Handle::from([7; 12]),
        mark: Mark::from([3; 8]),
        secret_hash: SecretHash::from([9; 32]),
        user_id: Some("ada".into()),
        auth_time: None,
        data: Data::parse(r#"{"b":1,"a.b":{"$set":[1.0,null]}}"#).unwrap(),
        metadata: Data::empty(),
        created_at: Timestamp::from_millis(1_000),
        updated_at: Timestamp::from_millis(2_000),
        reset_at: Timestamp::from_millis(3_000),
        last_activity: Timestamp::from_millis(4_000),
        ttl: Duration::from_millis(5_000),
        ttl_source: TtlSource::Configured,
        idle: None,
        persistent: false,
        labels: Labels::none(),
        expires_at: Timestamp::from_millis(8_000),
        version: 3,
        mac: None,
    }
}

fn read(document: &Document) -> Result<Record, Unreadable> {
    to_record(&RawDocumentBuf::try_from(document).unwrap())
}

#[test]
fn a_record_is_read_back() {
    let known = Record { auth_time: Some(Timestamp::from_millis(6_000)), ..record() };
    let sealed = Record { mac: Some(Mac([8; 32])), ttl_source: TtlSource::Caller, ..record() };
    for record in [record(), known, Record { user_id: None, ..record() }, sealed] {
        let document = from_record(&record).unwrap();
        assert_eq!(read(&document).unwrap(), record);
        assert!(document.keys().all(|field| FIELDS.contains(&field.as_str())));
        let raw = RawDocumentBuf::try_from(&document).unwrap();
        assert_eq!(to_summary(&raw).unwrap(), record.summary());
        assert_eq!(to_outline(&raw).unwrap(), record.outline());
    }
}

#[test]
fn what_came_later_may_be_missing() {
    let mut document = from_record(&record()).unwrap();
    for field in ["auth_time", "mark", "ttl_source"] {
        document.remove(field);
    }
    let mark = Mark::of_layout_1(record().created_at);
    assert_eq!(read(&document).unwrap(), Record { mark, ttl_source: TtlSource::Unknown, ..record() });
}

#[test]
fn a_field_that_is_not_known_is_passed_over_in_layout_1_alone() {
    let mut document = from_record(&record()).unwrap();
    document.insert("shard", "eu");
    assert_eq!(read(&document).unwrap(), record());
    document.insert("schema", 2);
    let error = read(&document).unwrap_err().to_string();
    assert!(error.contains("shard: this build does not know it"), "{error}");
    document.remove("shard");
    assert_eq!(read(&document).unwrap(), record());
}

#[test]
fn a_condition_names_the_incarnation() {
    let target = |mark| targeted(&Target::incarnation(Handle::from([7; 12]), mark));
    let marked = target(Mark::from([3; 8]));
    assert_eq!(marked.get("mark"), Some(&Bson::Binary(binary(&[3; 8]))));
    let of_layout_1 = target(Mark::of_layout_1(Timestamp::from_millis(1_000)));
    let by_beginning = doc! { "mark": null, "created_at": date(Timestamp::from_millis(1_000)) };
    assert!(of_layout_1.get_array("$or").unwrap().contains(&by_beginning.into()));
}

#[test]
fn a_shell_shows_the_handle_in_the_id() {
    let handle = Handle::parse("AbCdEf0123456-_9").unwrap();
    // What `BinData(0, "...")` shows, and takes.
    assert_eq!(STANDARD.encode(id(handle).bytes), "AbCdEf0123456+/9");
}

#[test]
fn foreign_documents_are_refused_with_handle_and_field() {
    let good = from_record(&record()).unwrap();
    let handle = Handle::from([7; 12]).to_string();
    let cases: [(&str, Option<Bson>, &str); 17] = [
        ("auth_time", Some("yesterday".into()), "a date"),
        ("_id", Some("text".into()), "12 bytes"),
        ("schema", Some(3_i64.into()), "layout 3"),
        ("schema", Some(0.into()), "layout 0"),
        ("mark", Some(Bson::Binary(binary(&[1; 7]))), "8 bytes"),
        ("ttl_source", Some("nobody".into()), "does not know"),
        ("mac", Some("text".into()), "binary data"),
        ("schema", None, "found nothing"),
        ("secret_hash", Some(Bson::Binary(binary(&[1; 31]))), "32 bytes"),
        ("user_id", Some(5.into()), "text or null"),
        ("data", None, "a value"),
        ("data", Some(Bson::DateTime(DateTime::from_millis(1))), "DateTime"),
        ("metadata", Some("text".into()), "a document"),
        ("created_at", Some("yesterday".into()), "found String"),
        ("ttl", Some((-1).into()), "negative"),
        ("expires_at", Some(5_i64.into()), "a date"),
        ("version", Some(1.0.into()), "an integer"),
    ];
    for (field, value, reason) in cases {
        let mut document = good.clone();
        match value {
            Some(value) => document.insert(field, value),
            None => document.remove(field),
        };
        let error = StoreError::from(read(&document).unwrap_err()).to_string();
        assert!(error.contains(&format!("{field}: ")) && error.contains(reason), "{error}");
        assert!(field == "_id" || error.contains(&handle), "{error}");
    }
    assert!(to_record(&RawDocumentBuf::new()).is_err());
}

#[test]
fn a_touch_sets_the_times_and_counts_nothing() {
    let now = Timestamp::from_millis(9_000);
    let times = Times { reset_at: now, last_activity: now, expires_at: now };
    let touch = Change::touch(now, times);
    let update = from_change(Handle::from([7; 12]), &touch, None).unwrap();
    assert!(!update.contains_key("$inc"));
    let set: Vec<_> = update.get_document("$set").unwrap().keys().cloned().collect();
    assert_eq!(set, ["reset_at", "last_activity", "expires_at"]);

    let write = Change { data: Some(record().data), ..touch };
    let update = from_change(Handle::from([7; 12]), &write, None).unwrap();
    assert_eq!(update.get_document("$inc").unwrap(), &doc! { "version": 1_i64 });
    assert_eq!(update.get_document("$set").unwrap().get("updated_at"), Some(&Bson::DateTime(date(now))));
}
