//! The definition of an index, and its comparison with a needed one.

use std::fmt;

use mongodb::bson::{Bson, Document, RawDocument};

/// An index that the store needs.
#[derive(Debug)]
pub(in super::super) struct Wanted {
    pub(in super::super) name: &'static str,
    /// Fields, and 1 or -1 for the direction.
    pub(super) keys: &'static [(&'static str, i32)],
    /// For a TTL index.
    pub(super) expire_after_seconds: Option<u64>,
}

/// The server deletes a session 60 s after its expiry at the earliest, so that a fast clock of its own expires none early.
pub(in super::super) const WANTED: [Wanted; 4] = [
    Wanted { name: "session_ttl", keys: &[("expires_at", 1)], expire_after_seconds: Some(60) },
    Wanted { name: "user_sessions", keys: &[("user_id", 1), ("created_at", -1)], expire_after_seconds: None },
    Wanted { name: "user_handles", keys: &[("user_id", 1), ("_id", 1)], expire_after_seconds: None },
    Wanted { name: "label_handles", keys: &[("labels", 1), ("_id", 1)], expire_after_seconds: None },
];

/// The position in [`WANTED`] of the index that orders a user's sessions as lists need them.
pub(in super::super) const USER_HANDLES: usize = 2;

/// The position of the one that orders the sessions of a label: a multikey index, as a session has several labels.
pub(in super::super) const LABELS: usize = 3;

/// An index of the collection, as the server describes it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Existing {
    name: String,
    keys: Document,
    /// All other options that make a difference.
    options: Document,
}

/// How the existing indexes match a needed one.
#[derive(Debug, PartialEq)]
pub(super) enum Fitness<'a> {
    /// There is a matching one, whatever its name.
    There,
    /// There is none, and no conflict.
    Missing,
    /// This one has the same name or keys, but differs.
    InTheWay(&'a Existing),
}

impl Existing {
    /// Parses the server's description; `None` for one without name or keys.
    pub(super) fn read(description: &RawDocument) -> Option<Self> {
        let mut options = Document::try_from(description).ok()?;
        let Some(Bson::String(name)) = options.remove("name") else { return None };
        let Some(Bson::Document(keys)) = options.remove("key") else { return None };
        // The index version, the collection's name, and an obsolete option that is ignored.
        for field in ["v", "ns", "background"] {
            options.remove(field);
        }
        // `false` is the default.
        let options = options.into_iter().filter(|(_, value)| *value != Bson::Boolean(false)).collect();
        Some(Self { name, keys, options })
    }

    fn expire_after_seconds(&self) -> Option<f64> {
        self.options.get("expireAfterSeconds").and_then(number)
    }

    /// Whether it has no options except its expiry.
    fn is_plain(&self) -> bool {
        self.options.keys().all(|option| option == "expireAfterSeconds")
    }
}

impl fmt::Display for Existing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.name, self.keys)?;
        if self.options.is_empty() { Ok(()) } else { write!(f, " with {}", self.options) }
    }
}

impl Wanted {
    /// The keys in the form of the server's command.
    pub(in super::super) fn key_document(&self) -> Document {
        self.keys.iter().map(|(field, direction)| ((*field).to_owned(), Bson::Int32(*direction))).collect()
    }

    /// Searches for it among `indexes`.
    pub(super) fn among<'a>(&self, indexes: &'a [Existing]) -> Fitness<'a> {
        if indexes.iter().any(|index| self.has_the_keys_of(index) && self.has_the_options_of(index)) {
            return Fitness::There;
        }
        // One with the same keys first: the server rejects ours because of it whatever the name, and fixing it may fix the
        // rest.
        let by_keys = indexes.iter().find(|index| self.has_the_keys_of(index) && index.collides());
        by_keys
            .or_else(|| indexes.iter().find(|index| index.name == self.name))
            .map_or(Fitness::Missing, Fitness::InTheWay)
    }

    fn has_the_keys_of(&self, index: &Existing) -> bool {
        index.keys.len() == self.keys.len()
            && index.keys.iter().zip(self.keys).all(
                |((field, direction), (wanted_field, wanted_direction))| {
                    field == wanted_field && number(direction) == Some(f64::from(*wanted_direction))
                },
            )
    }

    fn has_the_options_of(&self, index: &Existing) -> bool {
        // Seconds are far below the precision limit of an f64.
        index.is_plain()
            && index.expire_after_seconds() == self.expire_after_seconds.map(|seconds| seconds as f64)
    }

    /// The mongosh command that replaces `found` by the needed index, in the collection of `names` (database, collection).
    pub(super) fn mend(&self, found: &Existing, names: (&str, &str)) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let database = format!("db.getSiblingDB({})", quoted(names.0));
        let (collection, keys) = (quoted(names.1), self.shell_keys());
        if let (true, true, Some(seconds), Some(_)) = (
            self.has_the_keys_of(found),
            found.is_plain(),
            self.expire_after_seconds,
            found.expire_after_seconds(),
        ) {
            // Changed in place, without a rebuild.
            return format!(
                "{database}.runCommand({{collMod: {collection}, index: {{keyPattern: {keys}, \
                 expireAfterSeconds: {seconds}}}}})"
            );
        }
        let expiry = self
            .expire_after_seconds
            .map_or_else(String::new, |seconds| format!(", expireAfterSeconds: {seconds}"));
        let collection = format!("{database}.getCollection({collection})");
        format!(
            "{collection}.dropIndex({}); {collection}.createIndex({keys}, {{name: {}{expiry}}})",
            quoted(&found.name),
            quoted(self.name)
        )
    }

    fn shell_keys(&self) -> String {
        let keys: Vec<_> =
            self.keys.iter().map(|(field, direction)| format!("{field}: {direction}")).collect();
        format!("{{{}}}", keys.join(", "))
    }
}

impl Existing {
    /// Whether the server rejects a second index with these keys beside it. Since MongoDB 5.0, indexes with another filter,
    /// collation, `sparse` or `unique` are different indexes; before, they are not. A plain one, or one that is only hidden or
    /// expires, always conflicts.
    fn collides(&self) -> bool {
        !self.options.contains_key("partialFilterExpression") && !self.options.contains_key("collation")
    }
}

/// A shell writes 1 as a double, an operator's script as an integer of any size.
fn number(value: &Bson) -> Option<f64> {
    match value {
        Bson::Int32(number) => Some(f64::from(*number)),
        Bson::Int64(number) => Some(*number as f64),
        Bson::Double(number) => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{RawDocumentBuf, doc};

    use super::*;

    const TTL: &Wanted = &WANTED[0];
    const USER: &Wanted = &WANTED[1];

    fn existing(description: Document) -> Existing {
        Existing::read(&RawDocumentBuf::try_from(&description).unwrap()).unwrap()
    }

    fn id() -> Existing {
        existing(doc! { "v": 2, "key": { "_id": 1 }, "name": "_id_" })
    }

    fn ttl(name: &str, seconds: impl Into<Bson>) -> Existing {
        existing(doc! { "v": 2, "key": { "expires_at": 1 }, "name": name, "expireAfterSeconds": seconds })
    }

    #[test]
    fn the_wanted_index_is_recognised_in_every_spelling() {
        let spellings = [
            ttl("session_ttl", 60),
            ttl("session_ttl", 60_i64),
            ttl("session_ttl", 60.0),
            ttl("expires_at_1", 60),
            existing(doc! {
                "v": 2, "key": { "expires_at": 1.0 }, "name": "session_ttl", "ns": "sessman.sessions",
                "background": true, "unique": false, "sparse": false, "expireAfterSeconds": 60,
            }),
        ];
        for spelling in spellings {
            assert_eq!(TTL.among(&[id(), spelling]), Fitness::There);
        }
        let user = doc! { "v": 2, "key": { "user_id": 1, "created_at": -1 }, "name": "user_sessions" };
        assert_eq!(USER.among(&[id(), existing(user)]), Fitness::There);
    }

    #[test]
    fn an_index_beside_ours_is_not_in_the_way() {
        let others = [
            id(),
            existing(doc! { "key": { "expires_at": 1, "user_id": 1 }, "name": "a" }),
            existing(doc! { "key": { "expires_at": -1 }, "name": "b" }),
            existing(doc! { "key": { "expires_at": "hashed" }, "name": "c" }),
            existing(doc! { "key": { "expires_at": 1 }, "name": "d", "partialFilterExpression": { "n": 1 } }),
        ];
        assert_eq!(TTL.among(&others), Fitness::Missing);
        assert_eq!(TTL.among(&[]), Fitness::Missing);
        let turned = existing(doc! { "key": { "created_at": -1, "user_id": 1 }, "name": "e" });
        assert_eq!(USER.among(&[turned]), Fitness::Missing);
    }

    #[test]
    fn another_time_of_expiry_is_changed_in_place() {
        let found = ttl("session_ttl", 0);
        assert_eq!(TTL.among(std::slice::from_ref(&found)), Fitness::InTheWay(&found));
        assert_eq!(
            found.to_string(),
            r#"session_ttl on { "expires_at": 1 } with { "expireAfterSeconds": 0 }"#
        );
        assert_eq!(
            TTL.mend(&found, ("sessman", "sessions")),
            "db.getSiblingDB(\"sessman\").runCommand({collMod: \"sessions\", index: {keyPattern: {expires_at: 1}, \
             expireAfterSeconds: 60}})"
        );
    }

    #[test]
    fn what_cannot_be_changed_is_dropped_by_its_name_and_made_anew() {
        let cases = [
            existing(doc! { "key": { "expires_at": 1 }, "name": "it's" }),
            existing(
                doc! { "key": { "expires_at": 1 }, "name": "it's", "unique": true, "expireAfterSeconds": 60 },
            ),
        ];
        for found in cases {
            assert_eq!(TTL.among(&[id(), found.clone()]), Fitness::InTheWay(&found));
            assert_eq!(
                TTL.mend(&found, ("a-b", "s.t")),
                "db.getSiblingDB(\"a-b\").getCollection(\"s.t\").dropIndex(\"it's\"); \
                 db.getSiblingDB(\"a-b\").getCollection(\"s.t\").createIndex({expires_at: 1}, \
                 {name: \"session_ttl\", expireAfterSeconds: 60})"
            );
        }
        let same_name = existing(doc! { "key": { "user_id": 1 }, "name": "user_sessions" });
        assert_eq!(USER.among(std::slice::from_ref(&same_name)), Fitness::InTheWay(&same_name));
        let mend = USER.mend(&same_name, ("sessman", "sessions"));
        assert!(
            mend.ends_with(r#".createIndex({user_id: 1, created_at: -1}, {name: "user_sessions"})"#),
            "{mend}"
        );
    }

    #[test]
    fn descriptions_that_are_none_are_passed_over() {
        for description in [doc! {}, doc! { "name": "a" }, doc! { "name": 1, "key": {} }] {
            assert_eq!(Existing::read(&RawDocumentBuf::try_from(&description).unwrap()), None);
        }
    }
}
