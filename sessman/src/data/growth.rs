//! What data costs that a client makes as large as it may, in every shape that could be slow.

use growth::assert_linear;

use super::{Data, DataError};

/// Bytes; the largest input has four times as many, the default of `max_data_bytes`.
const SIZE: usize = 64 << 10;

/// Texts of about this many bytes, by their names. Most are data, the others are refused, each for another reason.
#[allow(clippy::type_complexity, reason = "a name and a maker")]
pub(crate) const SHAPES: [(&str, fn(usize) -> String); 22] = [
    ("members", |bytes| object(bytes / 12, |n| format!("\"{n:06}\":{}", n % 10))),
    ("members with escapes in their names", |bytes| {
        object(bytes / 16, |n| format!("\"\\n{n:08}\":{}", n % 10))
    }),
    ("members with long names", |bytes| {
        object(bytes / 4_096, |n| format!("\"{}{n:08}\":1", "k".repeat(4_080)))
    }),
    ("members of members", |bytes| {
        object(bytes / 64, |n| format!("\"{n:08}\":{{\"a\":{{\"b\":[{{}},null,true,\"{n:08}\"]}}}}"))
    }),
    ("a name that comes again at the end", |bytes| {
        object(bytes / 12, |n| format!("\"{:06}\":1", n % (bytes / 12 - 1)))
    }),
    ("one name again and again, in objects of their own", |bytes| array(bytes / 8, |_| "{\"a\":1}".into())),
    ("items", |bytes| array(bytes / 2, |_| "1".into())),
    ("empty arrays", |bytes| array(bytes / 3, |_| "[]".into())),
    ("arrays as deep as may be", |bytes| {
        array(bytes / 200, |_| format!("{}{}", "[".repeat(98), "]".repeat(98)))
    }),
    ("objects as deep as may be", |bytes| {
        array(bytes / 600, |_| format!("{}1{}", "{\"a\":".repeat(98), "}".repeat(98)))
    }),
    ("too deep", |bytes| "[".repeat(bytes)),
    ("a text", |bytes| format!("\"{}\"", "x".repeat(bytes))),
    ("a text of escapes", |bytes| format!("\"{}\"", "\\u00e9\\n\\\"".repeat(bytes / 10))),
    ("a text of line breaks", |bytes| format!("\"{}\"", "\\n".repeat(bytes / 2))),
    ("a text beyond ASCII", |bytes| format!("\"{}\"", "\u{1f600}\u{fc}".repeat(bytes / 6))),
    ("a name of escapes", |bytes| format!("{{\"{}\":1e999}}", "\\n~/".repeat(bytes / 4))),
    ("white space", |bytes| format!("[{}1]", " ".repeat(bytes))),
    ("a fraction of many digits", |bytes| format!("0.{}", "3".repeat(bytes))),
    ("a fraction of many zeros", |bytes| format!("0.{}1", "0".repeat(bytes))),
    ("an integer of many digits", |bytes| "9".repeat(bytes)),
    ("a large integer at the end", |bytes| {
        object(bytes / 12, |n| format!("\"{n:06}\":{}", if n + 1 == bytes / 12 { u64::MAX } else { 1 }))
    }),
    ("texts that no colon follows, and a large integer", |bytes| {
        format!("[{}{}]", "\"\"  ,".repeat(bytes / 5), u64::MAX)
    }),
];

fn object(members: usize, member: impl Fn(usize) -> String) -> String {
    format!("{{{}}}", (0..members).map(member).collect::<Vec<_>>().join(","))
}

fn array(items: usize, item: impl Fn(usize) -> String) -> String {
    format!("[{}]", (0..items).map(item).collect::<Vec<_>>().join(","))
}

/// Two objects of this many members each, by what the second does to the first.
#[allow(clippy::type_complexity, reason = "a name and a maker")]
const PATCHES: [(&str, fn(usize) -> (String, String)); 8] = {
    fn members(count: usize) -> String {
        object(count, |n| format!("\"{n:06}\":{n}"))
    }
    [
        ("removes all", |count| (members(count), object(count, |n| format!("\"{n:06}\":null")))),
        ("removes all, from the last one on", |count| {
            (members(count), object(count, |n| format!("\"{:06}\":null", count - 1 - n)))
        }),
        ("removes every second", |count| {
            (members(count), object(count / 2, |n| format!("\"{:06}\":null", 2 * n)))
        }),
        ("removes what is not there", |count| {
            (members(count), object(count, |n| format!("\"-{n:06}\":null")))
        }),
        ("removes one and puts another in", |count| {
            let member = |n: usize| {
                if n.is_multiple_of(2) { format!("\"{n:06}\":null") } else { format!("\"+{n:06}\":[]") }
            };
            (members(count), object(count, member))
        }),
        ("replaces all", |count| (members(count), object(count, |n| format!("\"{n:06}\":\"{n}\"")))),
        ("removes members of members", |count| {
            let inner = |value: &'static str| {
                move |n: usize| format!("\"{n:06}\":{{\"a\":{{\"b\":{value},\"c\":1}}}}")
            };
            (object(count, inner("2")), object(count, inner("null")))
        }),
        ("removes from an object below others", |count| {
            let below = |inner: String| format!("{}{inner}{}", "{\"a\":".repeat(90), "}".repeat(90));
            (below(members(count)), below(object(count, |n| format!("\"{n:06}\":null"))))
        }),
    ]
};

#[test]
fn reading_grows_as_the_text_whatever_its_shape() {
    for (shape, text) in SHAPES {
        assert_linear(shape, SIZE, text, |text| Data::parse(text));
    }
}

#[test]
fn all_shapes_are_read_or_refused_for_what_they_are() {
    let refused: Vec<&str> = SHAPES
        .into_iter()
        .filter(|(_, text)| match Data::parse(&text(SIZE)) {
            Ok(_) => false,
            Err(DataError::NotStorable { .. }) => true,
            Err(DataError::Malformed(wrong)) => panic!("{wrong}"),
        })
        .map(|(shape, _)| shape)
        .collect();
    assert_eq!(
        refused,
        [
            "a name that comes again at the end",
            "too deep",
            "a name of escapes",
            "an integer of many digits",
            "a large integer at the end",
            "texts that no colon follows, and a large integer",
        ]
    );
}

#[test]
fn text_that_is_cut_off_is_refused_in_time_that_grows_as_the_text() {
    for (shape, text) in SHAPES {
        let cut = |bytes| {
            let mut text = text(bytes);
            text.pop();
            text
        };
        assert_linear(shape, SIZE, cut, |text| Data::parse(text));
    }
}

#[test]
fn merging_grows_as_data_and_patch_whatever_the_patch_does() {
    for (what, texts) in PATCHES {
        let input = |count| {
            let (data, patch) = texts(count);
            (Data::parse(&data).unwrap(), Data::parse(&patch).unwrap())
        };
        assert_linear(what, 4_000, input, |(data, patch)| data.merged_with(patch));
    }
}

#[test]
fn members_are_added_in_time_that_grows_as_what_is_there() {
    let input = |bytes| Data::parse(&SHAPES[0].1(bytes)).unwrap();
    let texts = || [("client_ip", "192.0.2.1".to_owned()), ("user_agent", "x".to_owned())];
    assert_linear("adding members", SIZE, input, |data| data.with_texts(texts()));
}
