//! Records as MongoDB documents, and documents of any kind as records.

use std::collections::BTreeMap;
use std::time::Duration;

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, RawBsonRef, RawDocument, RawDocumentBuf};
use proptest::collection::vec;
use proptest::prelude::*;
use sessman::data::Data;
use sessman::id::{Handle, SecretHash};
use sessman::labels::{Label, Labels};
use sessman::mark::Mark;
use sessman::record::{Mac, Record, TtlSource};
use sessman::store::mongodb::documents;
use sessman::time::Timestamp;

use crate::choice::{nested, one_of, optional};
use crate::data::{TEXTS, any_text, is_canonical};
use crate::door::{Door, door};
use crate::pieces::{self, text};

/// Field names of a record, and ones that no key is stored under.
const NAMES: &[&str] = &[
    "_id",
    "mark",
    "secret_hash",
    "user_id",
    "data",
    "metadata",
    "created_at",
    "updated_at",
    "reset_at",
    "last_activity",
    "ttl",
    "ttl_source",
    "idle",
    "persistent",
    "labels",
    "expires_at",
    "version",
    "schema",
    "mac",
    "$set",
    "a.b",
    "a%2Eb",
    "a",
    "%",
    "%24x",
    "100%",
    "0",
    "1",
];

fn data() -> impl Strategy<Value = Data> {
    let any = any_text().prop_map(|text| Data::parse(&text).unwrap_or_else(|_| Data::empty()));
    one_of![any, object()]
}

fn object() -> impl Strategy<Value = Data> {
    pieces::object(TEXTS, pieces::json(TEXTS)).prop_map(|object| {
        Data::parse(&serde_json::Value::Object(object).to_string()).unwrap_or_else(|_| Data::empty())
    })
}

pub(crate) fn record() -> impl Strategy<Value = Record> {
    let ids = (any::<[u8; 12]>(), any::<[u8; 32]>(), optional(text(TEXTS, 4)));
    let times = any::<[i64; 5]>();
    let numbers = (0..=i64::MAX as u64, 0..=i64::MAX as u64);
    let sources = vec![TtlSource::Unknown, TtlSource::Configured, TtlSource::Caller];
    let own = (
        optional(0..=i64::MAX as u64),
        any::<bool>(),
        vec(("[a-z][a-z0-9_]{0,3}", "[a-zé:.$%0-9]{1,4}"), 0..4),
    );
    let later = (any::<[u8; 8]>(), prop::sample::select(sources), optional(any::<[u8; 32]>()), own);
    (ids, data(), object(), times, numbers, later).prop_map(
        |((handle, secret_hash, user_id), data, metadata, times, (ttl, version), later)| {
            let (mark, ttl_source, mac, (idle, persistent, labels)) = later;
            let [created_at, updated_at, reset_at, last_activity, expires_at] =
                times.map(Timestamp::from_millis);
            let (handle, secret_hash) = (Handle::from(handle), SecretHash::from(secret_hash));
            let ttl = Duration::from_millis(ttl);
            Record {
                handle,
                mark: Mark::from(mark),
                secret_hash,
                user_id,
                auth_time: None,
                data,
                metadata,
                created_at,
                updated_at,
                reset_at,
                last_activity,
                ttl,
                ttl_source,
                idle: idle.map(Duration::from_millis),
                persistent,
                labels: labels_of(labels),
                expires_at,
                version,
                mac: mac.map(Mac),
            }
        },
    )
}

/// Each name once.
fn labels_of(pairs: Vec<(String, String)>) -> Labels {
    let pairs: BTreeMap<String, String> = pairs.into_iter().collect();
    let labels = pairs.iter().filter_map(|(name, value)| Label::new(name, value).ok());
    Labels::from_list(labels.collect()).unwrap_or_default()
}

/// A record comes back from its document, whatever it holds.
pub(crate) fn written() -> Box<dyn Door> {
    let check = |record: Record| {
        let Ok(bytes) = documents::write(&record) else { panic!("{record:?} cannot be written") };
        match documents::read(&bytes) {
            Ok(read) => {
                assert_eq!(read.data.as_str(), record.data.as_str());
                assert_eq!(read.metadata.as_str(), record.metadata.as_str());
                assert!(read == record, "{read:?} was {record:?}");
            }
            Err(error) => panic!("what was written cannot be read: {error}"),
        }
    };
    Box::new(door(record(), check))
}

fn bson() -> impl Strategy<Value = Bson> {
    let scalar = one_of![
        Just(Bson::Null),
        any::<bool>().prop_map(Bson::Boolean),
        any::<i32>().prop_map(Bson::Int32),
        any::<i64>().prop_map(Bson::Int64),
        one_of![pieces::float(), Just(f64::NAN), Just(f64::INFINITY)].prop_map(Bson::Double),
        text(TEXTS, 3).prop_map(Bson::String),
        any::<i64>().prop_map(|millis| Bson::DateTime(DateTime::from_millis(millis))),
        binary(vec(any::<u8>(), 0..40)),
        prop::sample::select(vec![Bson::Undefined, Bson::MinKey, Bson::MaxKey]),
    ];
    nested(scalar.boxed(), 3, |inner| {
        let members = vec((prop::sample::select(NAMES), inner.clone()), 0..3);
        one_of![
            vec(inner, 0..3).prop_map(Bson::Array),
            members.prop_map(|members| Bson::Document(
                members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Document>()
            )),
        ]
        .boxed()
    })
}

fn binary(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Bson> {
    let subtype =
        prop::sample::select(vec![BinarySubtype::Generic, BinarySubtype::Uuid, BinarySubtype::Function]);
    (subtype, bytes).prop_map(|(subtype, bytes)| Bson::Binary(Binary { subtype, bytes }))
}

/// What happens to the document of a record before it is read.
#[derive(Debug, Clone)]
enum Damage {
    /// A field holds something else, or is there besides.
    Field(&'static str, Bson),
    /// A field is missing.
    Missing(&'static str),
    /// `data` holds something else.
    Data(Bson),
    /// The bytes of one name are those of another: the way to a name that comes twice.
    Renamed(u8, u8),
    /// One byte is another.
    Byte(prop::sample::Index, u8),
    /// The end is missing.
    Cut(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let letter = || prop::sample::select(b"ab%.$2E5".to_vec());
    one_of![
        (prop::sample::select(NAMES), bson()).prop_map(|(name, value)| Damage::Field(name, value)),
        prop::sample::select(NAMES).prop_map(Damage::Missing),
        bson().prop_map(Damage::Data),
        (letter(), letter()).prop_map(|(from, to)| Damage::Renamed(from, to)),
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        any::<prop::sample::Index>().prop_map(Damage::Cut),
    ]
}

fn damaged(record: &Record, damage: &[Damage]) -> Vec<u8> {
    let Ok(mut bytes) = documents::write(record) else { panic!("{record:?} cannot be written") };
    for damage in damage {
        match damage {
            Damage::Field(name, value) => edit(&mut bytes, |document| {
                document.insert(*name, value.clone());
            }),
            Damage::Missing(name) => edit(&mut bytes, |document| {
                document.remove(name);
            }),
            Damage::Data(value) => edit(&mut bytes, |document| {
                document.insert("data", value.clone());
            }),
            Damage::Renamed(from, to) => {
                bytes.iter_mut().filter(|byte| *byte == from).for_each(|byte| *byte = *to);
            }
            Damage::Byte(at, byte) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Damage::Cut(at) if !bytes.is_empty() => bytes.truncate(at.index(bytes.len())),
            Damage::Byte(..) | Damage::Cut(_) => {}
        }
    }
    bytes
}

/// Bytes that are no document any more stay as they are.
fn edit(bytes: &mut Vec<u8>, change: impl FnOnce(&mut Document)) {
    let document = RawDocument::from_bytes(&*bytes).ok().and_then(|raw| Document::try_from(raw).ok());
    if let Some(mut document) = document {
        change(&mut document);
        if let Ok(raw) = RawDocumentBuf::try_from(&document) {
            *bytes = raw.into_bytes();
        }
    }
}

/// What is taken for a record is one: it holds what every store can hold, and is written as it was read.
fn check(bytes: &[u8]) {
    let Ok(record) = documents::read(bytes) else { return };
    is_canonical(&record.data);
    is_canonical(&record.metadata);
    assert!(record.metadata.as_str().starts_with('{'), "metadata that is no object");
    let Ok(written) = documents::write(&record) else { panic!("{record:?} cannot be written") };
    assert_eq!(documents::read(&written).ok().as_ref(), Some(&record));
    let of = |bytes, field| match RawDocument::from_bytes(bytes).ok().map(|document| document.get(field)) {
        Some(Ok(Some(RawBsonRef::Document(value)))) => Some(names(value)),
        _ => None,
    };
    for field in ["data", "metadata"] {
        assert_eq!(of(bytes, field), of(&written, field), "names that no key is stored under");
    }
}

fn names(document: &RawDocument) -> Vec<String> {
    document.iter().flatten().map(|(name, _)| name.as_str().to_owned()).collect()
}

/// Documents that others wrote, or damaged.
pub(crate) fn foreign() -> Box<dyn Door> {
    let near = (record(), vec(damage(), 0..3)).prop_map(|(record, damage)| damaged(&record, &damage));
    let input = one_of![9 => near, 1 => vec(any::<u8>(), 0..200)];
    Box::new(door(input, |bytes: Vec<u8>| check(&bytes)).raw(<[u8]>::to_vec, &[]).words(NAMES))
}
