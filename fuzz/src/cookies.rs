//! The `Cookie` header.

use proptest::collection::vec;
use proptest::prelude::*;
use sessman_plugin::cookie_values;

use crate::choice::one_of;
use crate::door::{Door, door};

const NAME: &[u8] = b"__Host-sid";

const PIECES: &[&[u8]] = &[
    NAME,
    b"__Host-sid=",
    b"=",
    b";",
    b"; ",
    b" ",
    b"\t",
    b"\"",
    b",",
    b"v",
    b"\xc2\xa0",
    b"\xc2\x85",
    b"\x85",
    b"\xa0",
    b"\xe2\x80\x80",
    b"\xe3\x80\x80",
    b"\xef\xbb\xbf",
    b"\x0b",
    b"\x0c",
    b"\x1c",
    b"\0",
    b"fran\xe7ais",
];

/// What holds whatever is sent: a value is found if, and only if, a pair begins with the name and nothing but spaces and tabs
/// is around it, and it is a piece of the header.
fn check(header: &[u8]) {
    let found: Vec<&[u8]> = cookie_values(header, NAME).collect();
    let mut left = found.iter();
    for pair in header.split(|byte| *byte == b';') {
        let text: Vec<char> = pair.iter().map(|byte| char::from(*byte)).collect();
        let text = String::from_iter(text);
        let Some((name, value)) = text.split_once('=') else { continue };
        let bare = |text: &str| {
            let bytes: Vec<u8> = text.trim_matches([' ', '\t']).chars().map(|c| c as u8).collect();
            bytes
        };
        if bare(name) == NAME {
            assert_eq!(
                left.next().map(|value| value.to_vec()),
                Some(bare(value)),
                "{}",
                header.escape_ascii()
            );
        }
    }
    assert!(left.next().is_none(), "a cookie that is not there: {}", header.escape_ascii());
}

pub(crate) fn open() -> Box<dyn Door> {
    let piece = one_of![
        6 => prop::sample::select(PIECES).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..4),
        1 => any::<char>().prop_map(|c| c.to_string().into_bytes()),
    ];
    let header = vec(piece, 0..16).prop_map(|pieces| pieces.concat());
    let seeds: &[&[u8]] = &[b"__Host-sid=v", b"a=1; __Host-sid=v", b"\xe2\x80\x80__Host-sid=v; __Host-sid=w"];
    Box::new(door(header, |header: Vec<u8>| check(&header)).raw(<[u8]>::to_vec, seeds).words(&[
        "__Host-sid",
        "=",
        "; ",
        "\t",
    ]))
}
