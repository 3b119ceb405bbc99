//! The slot map of a cluster: each key is in one of 16384 slots, and each slot has a master.

use redis::Value;

use super::server_url::Address;

const SLOTS: u16 = 16_384;

/// The slot map.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slots {
    /// First and last slot of each range, and its master, in the order of slots.
    ranges: Vec<(u16, u16, Address)>,
}

impl Slots {
    /// Parses the reply of `asked` to `CLUSTER SLOTS`; `None` if it is malformed.
    pub(super) fn read(answer: &Value, asked: &Address) -> Option<Self> {
        let Value::Array(rows) = answer else { return None };
        let mut ranges = Vec::new();
        for row in rows {
            let Value::Array(row) = row else { return None };
            let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = &row[..] else {
                return None;
            };
            let [host, Value::Int(port), ..] = &master[..] else { return None };
            let host = match host {
                Value::BulkString(host) if !host.is_empty() => String::from_utf8(host.clone()).ok()?,
                Value::SimpleString(host) if !host.is_empty() => host.clone(),
                // The member does not know its own name: use the one that we connected to.
                _ => asked.host.clone(),
            };
            let address = Address { host, port: u16::try_from(*port).ok()? };
            ranges.push((u16::try_from(*first).ok()?, u16::try_from(*last).ok()?, address));
        }
        ranges.sort_unstable();
        Some(Self { ranges })
    }

    /// These ranges: first slot, last slot and master.
    #[cfg(test)]
    pub(super) fn of(ranges: Vec<(u16, u16, Address)>) -> Self {
        Self { ranges }
    }

    /// The master of a key; `None` if its slot has none.
    pub(super) fn master_of(&self, key: &[u8]) -> Option<&Address> {
        let slot = slot_of(key);
        let after = self.ranges.partition_point(|(first, _, _)| *first <= slot);
        let (_, last, master) = self.ranges.get(after.checked_sub(1)?)?;
        (slot <= *last).then_some(master)
    }

    /// The number of slots without a master.
    pub(super) fn without_master(&self) -> u16 {
        let has = self.ranges.iter().map(|(first, last, _)| last.saturating_sub(*first).saturating_add(1));
        SLOTS.saturating_sub(has.fold(0, u16::saturating_add))
    }

    /// For each master a key that begins with `prefix` and is in one of its slots.
    pub(super) fn a_key_of_each(&self, prefix: &[u8]) -> Vec<Vec<u8>> {
        let mut masters = self.masters();
        let mut keys = Vec::with_capacity(masters.len());
        // The slots of these keys are as good as random, and enough to hit a master with a single slot.
        for number in 0..32 * u32::from(SLOTS) {
            if masters.is_empty() {
                break;
            }
            let key = [prefix, format!(":{number}").as_bytes()].concat();
            if let Some(master) = self.master_of(&key)
                && let Some(place) = masters.iter().position(|other| other == master)
            {
                masters.swap_remove(place);
                keys.push(key);
            }
        }
        keys
    }

    /// Every master, once.
    pub(super) fn masters(&self) -> Vec<Address> {
        let mut masters: Vec<Address> = self.ranges.iter().map(|(_, _, master)| master.clone()).collect();
        masters.sort_unstable();
        masters.dedup();
        masters
    }
}

/// The slot of a key: that of its hash tag, the text in the first braces, if there is any.
pub(super) fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}').filter(|close| *close > 0)?;
        Some(&rest[..close])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM, as in the cluster specification.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => (crc << 1) ^ 0x1021,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot_of(b"foo"), 12_182);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(slot_of(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot_of(b"foo{{bar}}"), slot_of(b"{bar"));
    }

    #[test]
    fn there_is_a_key_for_each_master_also_for_one_with_a_single_slot() {
        let address = |port| Address { host: "db".into(), port };
        let slots = Slots::of(vec![(0, 99, address(1)), (100, 100, address(2)), (101, 16_000, address(3))]);
        assert_eq!(slots.without_master(), 383);
        let keys = slots.a_key_of_each(b"sessman:ping");
        let mut masters: Vec<&Address> = keys.iter().filter_map(|key| slots.master_of(key)).collect();
        masters.sort();
        assert_eq!(masters, [&address(1), &address(2), &address(3)]);
        assert!(keys.iter().all(|key| key.starts_with(b"sessman:ping:")));
    }

    #[test]
    fn the_master_of_a_key_is_found() {
        let node = |host: &str, port: i64| {
            Value::Array(vec![
                Value::BulkString(host.into()),
                Value::Int(port),
                Value::BulkString("id".into()),
            ])
        };
        let row = |first, last, node| Value::Array(vec![Value::Int(first), Value::Int(last), node]);
        let asked = Address { host: "asked".into(), port: 1 };
        let answer = Value::Array(vec![row(8_000, 12_182, node("b", 2)), row(0, 7_999, node("", 1))]);
        let slots = Slots::read(&answer, &asked).unwrap();
        assert_eq!(slots.master_of(b"foo").unwrap().to_string(), "b:2");
        assert_eq!(slots.masters().iter().map(ToString::to_string).collect::<Vec<_>>(), ["asked:1", "b:2"]);
        // Of slot 12739, which is in no range.
        assert_eq!(slots.master_of(b"123456789"), None);
        assert_eq!(Slots::read(&Value::Array(Vec::new()), &asked).unwrap().master_of(b"foo"), None);
        assert_eq!(Slots::read(&Value::Okay, &asked), None);
        assert_eq!(Slots::read(&Value::Array(vec![Value::Nil]), &asked), None);
    }
}
