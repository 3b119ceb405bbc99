//! Reads JSON text into a value, refusing on the way what not every store can hold, and naming the place.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{DataError, MAX_NESTING, place};

const INTEGER_RANGE: &str = "an integer outside the range of 64 bits with a sign";
const FLOAT_RANGE: &str = "a number outside the range of a 64 bit float";
const TOO_DEEP: &str = "nested deeper than 99 levels";
const NUL_IN_KEY: &str = "a NUL character in a key";
const DUPLICATE_KEY: &str = "a key that comes twice in one object";

/// Reads the whole text.
pub(super) fn read(text: &str) -> Result<Value, DataError> {
    // serde_json reads an integer that is too large as the nearest float, so that it would be changed in silence.
    if let Some(offset) = place::integer_out_of_range(text) {
        return Err(DataError::NotStorable {
            pointer: place::pointer_at(text, offset),
            reason: INTEGER_RANGE,
        });
    }
    let progress = Progress::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    // Its own limit of 128 levels is not reached, ours comes first.
    let value = Seed { progress: &progress, depth: 0 }.deserialize(&mut reader);
    value.and_then(|value| reader.end().map(|()| value)).map_err(|error| progress.into_error(&error))
}

/// Where the reader is, and why it stopped there if the text itself is JSON.
#[derive(Default)]
struct Progress {
    /// Each step as in a JSON pointer.
    path: RefCell<Vec<String>>,
    reason: RefCell<Option<&'static str>>,
}

impl Progress {
    fn refuse<E: Error>(&self, reason: &'static str) -> E {
        self.reason.replace(Some(reason));
        E::custom(reason)
    }

    fn into_error(self, error: &serde_json::Error) -> DataError {
        let float_range = || error.to_string().starts_with("number out of range").then_some(FLOAT_RANGE);
        match self.reason.into_inner().or_else(float_range) {
            Some(reason) => DataError::NotStorable { pointer: self.path.into_inner().concat(), reason },
            None => DataError::Malformed(error.to_string()),
        }
    }
}

#[derive(Clone, Copy)]
struct Seed<'p> {
    progress: &'p Progress,
    /// Arrays and objects around the value.
    depth: usize,
}

impl Seed<'_> {
    fn inner<E: Error>(self) -> Result<Self, E> {
        match self.depth {
            MAX_NESTING => Err(self.progress.refuse(TOO_DEEP)),
            depth => Ok(Self { depth: depth + 1, ..self }),
        }
    }

    fn enter(self, step: String) {
        self.progress.path.borrow_mut().push(step);
    }

    fn leave(self) {
        self.progress.path.borrow_mut().pop();
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value).map(Value::from).map_err(|_| self.progress.refuse(INTEGER_RANGE))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut array = Vec::new();
        loop {
            self.enter(format!("/{}", array.len()));
            let Some(item) = items.next_element_seed(inner)? else { break };
            self.leave();
            array.push(item);
        }
        self.leave();
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            self.enter(place::step(&key));
            if key.contains('\0') {
                return Err(self.progress.refuse(NUL_IN_KEY));
            }
            if object.contains_key(&key) {
                return Err(self.progress.refuse(DUPLICATE_KEY));
            }
            let value = members.next_value_seed(inner)?;
            self.leave();
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}
