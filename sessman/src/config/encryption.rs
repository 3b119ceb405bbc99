//! The encryption keys of the store.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;
use settings::Problem;

use super::raw::RawConfig;
use super::values::{choice, problem};
use crate::store::sealed::{KEY_BYTES, Keys, RecordMacs};

/// Base64 with or without padding.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Reads the keys for encryption.
pub(super) fn read(raw: &RawConfig, problems: &mut Vec<Problem>) -> Option<Keys> {
    let texts = match &raw.encryption_keys {
        None | Some(Value::Null) => {
            let given = [
                ("accept_unencrypted", raw.accept_unencrypted.is_some()),
                ("record_macs", raw.record_macs.is_some()),
            ];
            for (key, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
                problems.push(problem(key, "means nothing without `encryption_keys`"));
            }
            return None;
        }
        Some(Value::Array(items)) => items.iter().map(Value::as_str).collect(),
        Some(one) => vec![one.as_str()],
    };
    let record_macs = choice(
        "record_macs",
        raw.record_macs.as_deref(),
        &[("required", RecordMacs::Required), ("optional", RecordMacs::Optional), ("off", RecordMacs::Off)],
        problems,
    );
    let keys: Option<Vec<[u8; KEY_BYTES]>> = texts.into_iter().map(|text| key(text?.trim())).collect();
    let keys = keys.and_then(|keys| Keys::new(&keys, raw.accept_unencrypted.unwrap_or(false)));
    let keys = keys.map(|keys| keys.with_record_macs(record_macs));
    if keys.is_none() {
        let expected =
            "expected 32 bytes as base64 or hexadecimal (`openssl rand -base64 32` makes one), or a list";
        problems.push(problem("encryption_keys", expected));
    }
    keys
}

fn key(text: &str) -> Option<[u8; KEY_BYTES]> {
    let hexadecimal = || {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let pairs = text.as_bytes().chunks(2);
        pairs
            .map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?))
            .collect::<Option<Vec<u8>>>()
    };
    let bytes = match text.len() {
        64 => hexadecimal(),
        _ => [&alphabet::STANDARD, &alphabet::URL_SAFE]
            .into_iter()
            .find_map(|alphabet| GeneralPurpose::new(alphabet, LENIENT).decode(text).ok()),
    };
    bytes?.try_into().ok()
}
