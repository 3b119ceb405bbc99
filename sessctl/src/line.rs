//! A record as a line of JSON in a backup: every field as it is stored, encrypted data included.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sessman::data::Data;
use sessman::id::{Handle, SecretHash};
use sessman::labels::{Label, Labels};
use sessman::mark::Mark;
use sessman::record::{Mac, Record, TtlSource};
use sessman::time::Timestamp;
use sha2::{Digest as _, Sha256};

/// Times are milliseconds since 1970-01-01 UTC. A line of layout 1 has no `mark`, `ttl_source` and `mac`;
/// `idle`, `persistent` and `labels` are there only if they are set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    handle: &'a str,
    mark: Option<&'a str>,
    secret_hash: &'a str,
    user_id: Option<String>,
    auth_time: Option<i64>,
    created_at: i64,
    updated_at: i64,
    reset_at: i64,
    last_activity: i64,
    ttl: u64,
    ttl_source: Option<&'a str>,
    idle: Option<u64>,
    #[serde(default)]
    persistent: bool,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    expires_at: i64,
    version: u64,
    mac: Option<&'a str>,
    #[serde(borrow)]
    metadata: &'a RawValue,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The line is no record. Its content is not shown, as it may be data.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("it is no record of a session ({0})")]
pub(crate) struct NoRecord(&'static str);

/// Writes `record` as a line, with its line end, into `line`, which is overwritten.
pub(crate) fn write(record: &Record, line: &mut String) {
    line.clear();
    let user_id = record.user_id.as_deref().map_or(Value::Null, Value::from);
    let auth_time = record.auth_time.map_or(Value::Null, |moment| moment.as_millis().into());
    let ttl_source = match record.ttl_source {
        TtlSource::Configured => Value::from("configured"),
        TtlSource::Caller => Value::from("caller"),
        TtlSource::Unknown => Value::Null,
    };
    let mac = record.mac.map_or(Value::Null, |Mac(mac)| URL_SAFE_NO_PAD.encode(mac).into());
    let own = own(record);
    // Writing to a String does not fail.
    let _ = writeln!(
        line,
        "{{\"handle\":\"{}\",\"mark\":\"{}\",\"secret_hash\":\"{}\",\"user_id\":{user_id},\"auth_time\":{auth_time},\
         \"created_at\":{},\"updated_at\":{},\"reset_at\":{},\"last_activity\":{},\"ttl\":{},\
         \"ttl_source\":{ttl_source}{own},\"expires_at\":{},\"version\":{},\"mac\":{mac},\"metadata\":{},\"data\":{}}}",
        record.handle,
        record.mark,
        URL_SAFE_NO_PAD.encode(record.secret_hash.as_bytes()),
        record.created_at.as_millis(),
        record.updated_at.as_millis(),
        record.reset_at.as_millis(),
        record.last_activity.as_millis(),
        record.ttl.as_millis(),
        record.expires_at.as_millis(),
        record.version,
        record.metadata.as_str(),
        record.data.as_str(),
    );
}

/// The members that only some records have, each after a comma.
fn own(record: &Record) -> String {
    let mut own = String::new();
    // Writing to a String does not fail.
    if let Some(idle) = record.idle {
        let _ = write!(own, ",\"idle\":{}", idle.as_millis());
    }
    if record.persistent {
        own.push_str(",\"persistent\":true");
    }
    if !record.labels.is_empty() {
        let labels: BTreeMap<&str, &str> =
            record.labels.iter().map(|label| (label.name(), label.value())).collect();
        let _ = write!(own, ",\"labels\":{}", serde_json::json!(labels));
    }
    own
}

/// Parses a line.
///
/// # Errors
/// Anything that [`write()`] did not write.
pub(crate) fn read(line: &str) -> Result<Record, NoRecord> {
    let line: Line<'_> = serde_json::from_str(line).map_err(|_| NoRecord("its members"))?;
    let bytes = |text: &str| -> Option<[u8; 32]> { URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok() };
    let created_at = Timestamp::from_millis(line.created_at);
    let metadata = data(line.metadata, "metadata")?;
    if !metadata.as_str().starts_with('{') {
        return Err(NoRecord("metadata"));
    }
    Ok(Record {
        handle: Handle::parse(line.handle).ok_or(NoRecord("handle"))?,
        mark: match line.mark {
            Some(mark) => Mark::parse(mark).ok_or(NoRecord("mark"))?,
            None => Mark::of_layout_1(created_at),
        },
        secret_hash: SecretHash::from(bytes(line.secret_hash).ok_or(NoRecord("secret_hash"))?),
        user_id: line.user_id,
        auth_time: line.auth_time.map(Timestamp::from_millis),
        data: data(line.data, "data")?,
        metadata,
        created_at,
        updated_at: Timestamp::from_millis(line.updated_at),
        reset_at: Timestamp::from_millis(line.reset_at),
        last_activity: Timestamp::from_millis(line.last_activity),
        ttl: Duration::from_millis(line.ttl),
        ttl_source: match line.ttl_source {
            Some("configured") => TtlSource::Configured,
            Some("caller") => TtlSource::Caller,
            Some(_) => return Err(NoRecord("ttl_source")),
            None => TtlSource::Unknown,
        },
        idle: line.idle.map(Duration::from_millis),
        persistent: line.persistent,
        labels: labels(&line.labels).ok_or(NoRecord("labels"))?,
        expires_at: Timestamp::from_millis(line.expires_at),
        version: line.version,
        mac: line.mac.map(|mac| bytes(mac).map(Mac).ok_or(NoRecord("mac"))).transpose()?,
    })
}

fn labels(named: &BTreeMap<String, String>) -> Option<Labels> {
    let labels = named.iter().map(|(name, value)| Label::new(name, value).ok());
    Labels::from_list(labels.collect::<Option<_>>()?).ok()
}

/// The text must be canonical JSON, which every store can hold.
fn data(text: &RawValue, name: &'static str) -> Result<Data, NoRecord> {
    let data = Data::parse(text.get()).map_err(|_| NoRecord(name))?;
    if data.as_str() == text.get() { Ok(data) } else { Err(NoRecord(name)) }
}

/// A digest over many records in order: equal records have the same digest, whatever the store.
#[derive(Default)]
pub(crate) struct Digest {
    hash: Sha256,
    line: String,
}

impl Digest {
    pub(crate) fn add(&mut self, record: &Record) {
        write(record, &mut self.line);
        self.hash.update(&self.line);
    }

    pub(crate) fn add_line(&mut self, line: &str) {
        self.hash.update(line);
    }

    /// As hexadecimal digits.
    pub(crate) fn end(self) -> String {
        self.hash.finalize().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn record(n: u8) -> Record {
        let at = |millis: i64| Timestamp::from_millis(1_700_000_000_000 + millis);
        Record {
            handle: Handle::from([n; 12]),
            mark: Mark::from([n; 8]),
            secret_hash: SecretHash::from([n ^ 0xA5; 32]),
            user_id: (!n.is_multiple_of(3)).then(|| format!("user {n} \"ü\\\"")),
            auth_time: (n % 3 > 1).then(|| at(-1)),
            data: Data::parse(r#"{"z":1.0,"a":[-9223372036854775808,1e300,"\n\u0000é"],"":null}"#).unwrap(),
            metadata: Data::empty(),
            created_at: at(1),
            updated_at: at(2),
            reset_at: at(3),
            last_activity: at(4),
            ttl: Duration::from_millis(5),
            ttl_source: [TtlSource::Configured, TtlSource::Caller, TtlSource::Unknown][usize::from(n % 3)],
            idle: n.is_multiple_of(5).then(|| Duration::from_millis(n.into())),
            persistent: n % 3 == 1,
            labels: labels(&if n.is_multiple_of(2) {
                BTreeMap::from([("tenant".into(), format!("{n} \""))])
            } else {
                BTreeMap::new()
            })
            .unwrap(),
            expires_at: at(4_000_000_000_000),
            version: u64::from(n) + 1,
            mac: (!n.is_multiple_of(2)).then_some(Mac([n; 32])),
        }
    }

    #[test]
    fn a_line_of_layout_1_is_read() {
        let line = r#"{"handle":"AQEBAQEBAQEBAQEB","secret_hash":"pKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKQ","user_id":"ada","auth_time":null,"created_at":1700000000001,"updated_at":2,"reset_at":3,"last_activity":4,"ttl":5,"expires_at":6,"version":7,"metadata":{},"data":1}"#;
        let record = read(line).unwrap();
        assert_eq!(record.mark, Mark::of_layout_1(Timestamp::from_millis(1_700_000_000_001)));
        assert_eq!((record.ttl_source, record.mac, record.version), (TtlSource::Unknown, None, 7));
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let mut line = String::new();
        for n in [0, 1, 2, 255] {
            write(&record(n), &mut line);
            assert!(line.ends_with("}\n") && line.matches('\n').count() == 1);
            assert_eq!(read(&line), Ok(record(n)));
        }
    }

    #[test]
    fn what_was_not_written_is_refused_without_being_shown() {
        let mut line = String::new();
        write(&record(1), &mut line);
        for (from, to, part) in [
            ("\"version\":2", "\"version\":-2", "its members"),
            ("\"version\":2", "\"hidden\":2", "its members"),
            ("\"handle\":\"AQ", "\"handle\":\"A", "handle"),
            ("\"secret_hash\":\"p", "\"secret_hash\":\"", "secret_hash"),
            ("\"mark\":\"01", "\"mark\":\"g1", "mark"),
            ("\"ttl_source\":\"caller\"", "\"ttl_source\":\"hidden\"", "ttl_source"),
            ("\"mac\":\"AQ", "\"mac\":\"A", "mac"),
            ("\"metadata\":{}", "\"metadata\":[]", "metadata"),
            ("\"z\":1.0", "\"z\": 1.0", "data"),
            ("\"z\":1.0", "\"z\":1.0,\"z\":\"hidden\"", "data"),
            ("-9223372036854775808", "-9223372036854775809", "data"),
        ] {
            assert!(line.contains(from), "{from}");
            let error = read(&line.replacen(from, to, 1)).unwrap_err();
            assert_eq!(error, NoRecord(part), "{to}");
        }
    }

    #[test]
    fn the_digest_is_of_content_and_order() {
        let digest = |numbers: &[u8]| {
            let mut digest = Digest::default();
            numbers.iter().for_each(|n| digest.add(&record(*n)));
            digest.end()
        };
        assert_eq!(digest(&[1, 2]), digest(&[1, 2]));
        assert_ne!(digest(&[1, 2]), digest(&[2, 1]));
        assert_ne!(digest(&[1, 2]), digest(&[1]));
    }
}
