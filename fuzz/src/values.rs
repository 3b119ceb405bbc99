//! Records as the values that Redis keeps, and values of any kind as records.

use proptest::collection::vec;
use proptest::prelude::*;
use sessman::record::Record;
use sessman::store::redis::records::{self, HEAD_BYTES};

use crate::choice::one_of;
use crate::documents::record;
use crate::door::{Door, door};

/// What happens to a value before it is read.
#[derive(Debug, Clone)]
enum Damage {
    /// One byte of the numbers, lengths and flags is another.
    Head(prop::sample::Index, u8),
    /// One byte anywhere is another.
    Byte(prop::sample::Index, u8),
    /// The end is missing.
    Cut(prop::sample::Index),
    /// Something comes after it.
    Longer(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<prop::sample::Index>;
    one_of![
        (index(), any::<u8>()).prop_map(|(at, byte)| Damage::Head(at, byte)),
        (index(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        index().prop_map(Damage::Cut),
        vec(any::<u8>(), 1..9).prop_map(Damage::Longer),
    ]
}

/// The record comes back from its value; a damaged value is an error or a record that is written as it was read.
pub(crate) fn open() -> Box<dyn Door> {
    let input = (record(), vec(damage(), 0..3));
    Box::new(door(input, |(record, damage): (Record, Vec<Damage>)| check(&record, &damage)))
}

fn check(record: &Record, damage: &[Damage]) {
    let mut bytes = records::write(record);
    assert_eq!(records::read(record.handle, &bytes).ok().as_ref(), Some(record));
    for damage in damage {
        match damage {
            Damage::Head(at, byte) if bytes.len() >= HEAD_BYTES => bytes[at.index(HEAD_BYTES)] = *byte,
            Damage::Byte(at, byte) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Damage::Cut(at) if !bytes.is_empty() => bytes.truncate(at.index(bytes.len())),
            Damage::Longer(more) => bytes.extend(more),
            Damage::Head(..) | Damage::Byte(..) | Damage::Cut(_) => {}
        }
    }
    if let Ok(read) = records::read(record.handle, &bytes) {
        let written = records::write(&read);
        assert_eq!(records::read(record.handle, &written).ok(), Some(read));
    }
}
