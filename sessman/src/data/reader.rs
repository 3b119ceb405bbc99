//! Parses JSON and writes it in canonical form. Rejects what not every store can hold, and names the place.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::limits::{DataError, MAX_NESTING};
use super::place;

const INTEGER_RANGE: &str = "an integer outside the range of 64 bits with a sign";
const FLOAT_RANGE: &str = "a number outside the range of a 64 bit float";
const TOO_DEEP: &str = "nested deeper than 99 levels";
const NUL_IN_KEY: &str = "a NUL character in a key";
const DUPLICATE_KEY: &str = "a key that comes twice in one object";

/// Parses the whole text; returns its canonical form.
pub(super) fn read(text: &str) -> Result<String, DataError> {
    // serde_json reads an integer that is too large as the nearest float, which would change it silently.
    if let Some(offset) = place::integer_out_of_range(text) {
        return Err(DataError::NotStorable {
            pointer: place::pointer_at(text, offset),
            reason: INTEGER_RANGE,
        });
    }
    let progress = Progress::default();
    progress.out.borrow_mut().reserve(text.len());
    let mut reader = serde_json::Deserializer::from_str(text);
    // serde_json's own limit of 128 levels is not reached, as ours is lower.
    let value = Seed { progress: &progress, depth: 0 }.deserialize(&mut reader);
    match value.and_then(|()| reader.end()) {
        // Only strings were written, so this is valid UTF-8.
        Ok(()) => Ok(String::from_utf8(progress.out.into_inner()).unwrap_or_default()),
        Err(error) => Err(progress.into_error(&error)),
    }
}

/// The output so far, the current place, and the reason for stopping if the text itself is valid JSON.
#[derive(Default)]
struct Progress<'de> {
    out: RefCell<Vec<u8>>,
    path: RefCell<Vec<Step<'de>>>,
    reason: RefCell<Option<&'static str>>,
}

enum Step<'de> {
    Index(usize),
    Key(Cow<'de, str>),
}

impl fmt::Display for Step<'_> {
    /// As in a JSON pointer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "/{index}"),
            Self::Key(key) => f.write_str(&place::step(key)),
        }
    }
}

impl Progress<'_> {
    fn write(&self, text: &[u8]) {
        self.out.borrow_mut().extend_from_slice(text);
    }

    fn write_json(&self, value: &(impl Serialize + ?Sized)) {
        // Strings and finite numbers always serialise, and writing to a Vec does not fail.
        let _ = serde_json::to_writer(&mut *self.out.borrow_mut(), value);
    }

    fn refuse<E: Error>(&self, reason: &'static str) -> E {
        self.reason.replace(Some(reason));
        E::custom(reason)
    }

    fn into_error(self, error: &serde_json::Error) -> DataError {
        let float_range = || error.to_string().starts_with("number out of range").then_some(FLOAT_RANGE);
        match self.reason.into_inner().or_else(float_range) {
            Some(reason) => {
                let pointer = self.path.into_inner().iter().map(ToString::to_string).collect();
                DataError::NotStorable { pointer, reason }
            }
            None => DataError::Malformed(error.to_string()),
        }
    }
}

/// The keys of an object. Most objects have few, for which a linear search is faster than a hash.
#[derive(Default)]
struct Keys<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Keys<'de> {
    const FEW: usize = 16;

    /// Adds a key; `false` if it is a duplicate.
    fn insert(&mut self, key: Cow<'de, str>) -> bool {
        if self.few.contains(&key) {
            return false;
        }
        if self.few.len() < Self::FEW {
            self.few.push(key);
            return true;
        }
        self.many.insert(key)
    }
}

/// A key, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Clone, Copy)]
struct Seed<'p, 'de> {
    progress: &'p Progress<'de>,
    /// Nesting depth of the value.
    depth: usize,
}

impl<'de> Seed<'_, 'de> {
    fn inner<E: Error>(self) -> Result<Self, E> {
        match self.depth {
            MAX_NESTING => Err(self.progress.refuse(TOO_DEEP)),
            depth => Ok(Self { depth: depth + 1, ..self }),
        }
    }

    fn enter(self, step: Step<'de>) {
        self.progress.path.borrow_mut().push(step);
    }

    fn leave(self) {
        self.progress.path.borrow_mut().pop();
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.progress.write(b"null");
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.progress.write(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.progress.write_json(&value);
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        let value = i64::try_from(value).map_err(|_| self.progress.refuse(INTEGER_RANGE))?;
        self.visit_i64(value)
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.progress.write_json(&value);
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.progress.write_json(value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        self.progress.write(b"[");
        for index in 0.. {
            let before = self.progress.out.borrow().len();
            self.enter(Step::Index(index));
            if index > 0 {
                self.progress.write(b",");
            }
            if items.next_element_seed(inner)?.is_none() {
                self.progress.out.borrow_mut().truncate(before);
                break;
            }
            self.leave();
        }
        self.leave();
        self.progress.write(b"]");
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        let mut keys = Keys::default();
        self.progress.write(b"{");
        while let Some(Key(key)) = members.next_key()? {
            if !keys.few.is_empty() {
                self.progress.write(b",");
            }
            self.progress.write_json(&*key);
            self.progress.write(b":");
            self.enter(Step::Key(key.clone()));
            if key.contains('\0') {
                return Err(self.progress.refuse(NUL_IN_KEY));
            }
            if !keys.insert(key) {
                return Err(self.progress.refuse(DUPLICATE_KEY));
            }
            members.next_value_seed(inner)?;
            self.leave();
        }
        self.progress.write(b"}");
        Ok(())
    }
}
