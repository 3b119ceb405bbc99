//! JSON as BSON, and back to the same text.

use std::collections::HashSet;
use std::fmt;

use mongodb::bson::{Bson, Document, RawBsonRef};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::key;
use crate::data::{Data, MAX_NESTING};

/// Why a BSON value is not one that [`to_bson`] made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum NotOurs {
    /// A type that JSON does not have.
    #[error("a value of the BSON type {0}, which JSON does not have")]
    Type(String),
    /// A field name that is not in the stored form of a key.
    #[error("a field name that no key is stored under")]
    Name,
    /// A duplicate field name.
    #[error("a field name that comes twice in one document")]
    Twice,
    /// Nested too deeply.
    #[error("nested deeper than {MAX_NESTING} levels")]
    TooDeep,
    /// Not BSON, or a string that is not Unicode.
    #[error("malformed BSON")]
    Malformed,
}

/// Converts `data` to BSON. An integer is stored in 32 bits if it fits: a shell writes it so too, and an array of small
/// numbers then takes six times the bytes of its JSON, not nine.
///
/// # Errors
/// Text that is not JSON, which no [`Data`] is.
pub(super) fn to_bson(data: &Data) -> serde_json::Result<Bson> {
    let mut reader = serde_json::Deserializer::from_str(data.as_str());
    let value = AsBson.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Converts `value` back to the same text, character by character.
///
/// # Errors
/// A value that [`to_bson`] did not make.
pub(super) fn from_bson(value: RawBsonRef<'_>) -> Result<Data, NotOurs> {
    let mut text = Vec::new();
    write(value, 0, &mut text)?;
    String::from_utf8(text).map(Data::from_store).map_err(|_| NotOurs::Malformed)
}

/// Parses JSON directly into BSON, without an intermediate tree.
struct AsBson;

impl<'de> DeserializeSeed<'de> for AsBson {
    type Value = Bson;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Bson, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AsBson {
    type Value = Bson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON that BSON can hold")
    }

    fn visit_unit<E>(self) -> Result<Bson, E> {
        Ok(Bson::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Bson, E> {
        Ok(Bson::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Bson, E> {
        Ok(i32::try_from(value).map_or(Bson::Int64(value), Bson::Int32))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Bson, E> {
        self.visit_i64(
            i64::try_from(value).map_err(|_| E::custom("an integer outside the range of 64 bits"))?,
        )
    }

    fn visit_f64<E>(self, value: f64) -> Result<Bson, E> {
        Ok(Bson::Double(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Bson, E> {
        Ok(Bson::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Bson, E> {
        Ok(Bson::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Bson, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(AsBson)? {
            array.push(item);
        }
        Ok(Bson::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Bson, A::Error> {
        let mut document = Document::new();
        while let Some(name) = members.next_key::<String>()? {
            if name.contains('\0') {
                return Err(A::Error::custom("a NUL character in a key"));
            }
            document.insert(key::stored(&name), members.next_value_seed(AsBson)?);
        }
        Ok(Bson::Document(document))
    }
}

fn write(value: RawBsonRef<'_>, depth: usize, text: &mut Vec<u8>) -> Result<(), NotOurs> {
    if depth >= MAX_NESTING && matches!(value, RawBsonRef::Array(_) | RawBsonRef::Document(_)) {
        return Err(NotOurs::TooDeep);
    }
    match value {
        RawBsonRef::Null => text.extend_from_slice(b"null"),
        RawBsonRef::Boolean(value) => write_scalar(&value, text)?,
        RawBsonRef::Int32(value) => write_scalar(&value, text)?,
        RawBsonRef::Int64(value) => write_scalar(&value, text)?,
        RawBsonRef::Double(value) if value.is_finite() => write_scalar(&value, text)?,
        RawBsonRef::String(value) => write_scalar(value, text)?,
        RawBsonRef::Array(items) => {
            text.push(b'[');
            for (index, item) in items.into_iter().enumerate() {
                if index > 0 {
                    text.push(b',');
                }
                write(item.map_err(|_| NotOurs::Malformed)?, depth + 1, text)?;
            }
            text.push(b']');
        }
        RawBsonRef::Document(members) => {
            text.push(b'{');
            let mut names = HashSet::new();
            for (index, member) in members.iter().enumerate() {
                let (name, value) = member.map_err(|_| NotOurs::Malformed)?;
                if !names.insert(name.as_str()) {
                    return Err(NotOurs::Twice);
                }
                if index > 0 {
                    text.push(b',');
                }
                write_scalar(&*key::original(name.as_str()).ok_or(NotOurs::Name)?, text)?;
                text.push(b':');
                write(value, depth + 1, text)?;
            }
            text.push(b'}');
        }
        other => return Err(NotOurs::Type(format!("{:?}", other.element_type()))),
    }
    Ok(())
}

/// In the form that [`Data`] has, because the same library writes it.
fn write_scalar<T: serde::Serialize + ?Sized>(value: &T, text: &mut Vec<u8>) -> Result<(), NotOurs> {
    serde_json::to_writer(text, value).map_err(|_| NotOurs::Malformed)
}

#[cfg(test)]
mod tests {
    use crate::data::arbitrary::arbitrary;
    use crate::data::growth::SHAPES;
    use growth::assert_linear;
    use mongodb::bson::{DateTime, RawDocumentBuf, doc};
    use proptest::prelude::*;

    use super::*;

    /// There and back, through bytes as a server keeps them.
    fn through_bytes(data: &Data) -> String {
        read(doc! { "data": to_bson(data).unwrap() }).unwrap().as_str().to_owned()
    }

    fn read(document: Document) -> Result<Data, NotOurs> {
        let raw = RawDocumentBuf::try_from(&document).unwrap();
        from_bson(raw.get("data").unwrap().unwrap())
    }

    #[test]
    fn the_same_text_comes_back() {
        let deep = |open: &str, inside: &str, close: &str| {
            format!("{}{inside}{}", open.repeat(MAX_NESTING), close.repeat(MAX_NESTING))
        };
        let texts = [
            "null",
            "true",
            "false",
            "0",
            "-1",
            "1.0",
            "-0.0",
            "1e300",
            "5e-324",
            "2147483647",
            "2147483648",
            "9223372036854775807",
            "-9223372036854775808",
            "\"\"",
            r#""\u0000 \" \\ 😀""#,
            "[]",
            "{}",
            r#"{"z":1,"a":{"$set":{"a.b":[1,1.0,null]},"":2,"%":3,"$ref":"x","_id":[1]}}"#,
            r#"[0.1,1.7976931348623157e308,0.3333333333333333]"#,
        ];
        let all = texts.map(str::to_owned).into_iter().chain([deep("[", "", "]"), deep("{\"a\":", "1", "}")]);
        for text in all {
            let data = Data::parse(&text).unwrap();
            assert_eq!(through_bytes(&data), data.as_str());
        }
    }

    #[test]
    fn what_others_wrote_is_named_and_not_taken_for_data() {
        let cases = [
            (doc! { "data": { "when": DateTime::from_millis(0) } }, NotOurs::Type("DateTime".into())),
            (doc! { "data": [f64::NAN] }, NotOurs::Type("Double".into())),
            (doc! { "data": { "100%": 1 } }, NotOurs::Name),
            (
                doc! { "data": (0..=MAX_NESTING).fold(Bson::Int32(1), |inner, _| Bson::Array(vec![inner])) },
                NotOurs::TooDeep,
            ),
        ];
        for (document, expected) in cases {
            assert_eq!(read(document).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_field_name_that_comes_twice_is_not_taken_for_data() {
        let mut raw = RawDocumentBuf::try_from(&doc! { "data": { "a": 1, "b": 2 } }).unwrap().into_bytes();
        let b = raw.iter().position(|byte| *byte == b'b').unwrap();
        raw[b] = b'a';
        let raw = RawDocumentBuf::from_bytes(raw).unwrap();
        assert_eq!(from_bson(raw.get("data").unwrap().unwrap()), Err(NotOurs::Twice));
    }

    #[test]
    fn data_goes_there_and_back_in_time_that_grows_as_its_text() {
        for (shape, text) in SHAPES {
            // Those that are refused never come here.
            let Ok(small) = Data::parse(&text(1 << 10)) else { continue };
            assert_eq!(through_bytes(&small), small.as_str());
            let data = |bytes| Data::parse(&text(bytes)).unwrap();
            assert_linear(shape, 64 << 10, data, to_bson);
            let stored =
                |bytes| RawDocumentBuf::try_from(&doc! { "data": to_bson(&data(bytes)).unwrap() }).unwrap();
            assert_linear(shape, 64 << 10, stored, |raw| from_bson(raw.get("data").unwrap().unwrap()));
        }
    }

    proptest! {
        #[test]
        fn any_data_comes_back_as_the_same_text(data in arbitrary()) {
            prop_assert_eq!(through_bytes(&data), data.as_str());
        }
    }
}
