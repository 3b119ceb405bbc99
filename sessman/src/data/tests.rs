use super::*;

fn not_storable(text: &str) -> (String, &'static str) {
    match Data::parse(text) {
        Err(DataError::NotStorable { pointer, reason }) => (pointer, reason),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn order_types_and_unicode_stay() {
    let kept =
        r#"{"z":1,"a":1.0,"n":null,"k":"\u0000😀","deep":[[],{},-9223372036854775808,9223372036854775807]}"#;
    assert_eq!(Data::parse(kept).unwrap().as_str(), kept);
    assert_eq!(Data::parse(" [1 , 2.50] ").unwrap().as_str(), "[1,2.5]");
}

#[test]
fn integers_that_would_change_are_refused_with_their_place() {
    assert_eq!(
        not_storable(r#"{"a/b":[1,9223372036854775808]}"#),
        ("/a~1b/1".into(), "an integer outside the range of 64 bits with a sign")
    );
    assert_eq!(
        not_storable("-9223372036854775809"),
        (String::new(), "an integer outside the range of 64 bits with a sign")
    );
    assert_eq!(
        not_storable("[0,[123456789012345678901234567890]]"),
        ("/1/0".into(), "an integer outside the range of 64 bits with a sign")
    );
    for fine in
        ["1e300", "12345678901234567890.5", r#""12345678901234567890""#, r#"{"12345678901234567890":1}"#]
    {
        Data::parse(fine).unwrap();
    }
    Data::parse("[00000000000000000000]").unwrap_err();
}

#[test]
fn ninety_nine_levels_fit_and_one_more_does_not() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    Data::parse(&nested(99)).unwrap();
    for levels in [100, 128, 10_000] {
        let found = not_storable(&nested(levels));
        assert_eq!(found, ("/0".repeat(99), "nested deeper than 99 levels"));
    }
}

#[test]
fn keys_that_stores_cannot_tell_apart_or_hold_are_refused_with_their_place() {
    let text = r#"{"a":[1,{"b":{"c\u0000d":1}}]}"#;
    assert_eq!(not_storable(text), ("/a/1/b/c\0d".into(), "a NUL character in a key"));
    let twice = r#"{"a":{"x~":1,"y":[],"x\u007e":2}}"#;
    assert_eq!(not_storable(twice), ("/a/x~0".into(), "a key that comes twice in one object"));
    let many: String = (0..40).map(|key| format!("\"{key}\":{key},")).collect();
    for again in [0, 15, 16, 39] {
        let text = format!("{{{many}\"{again}\":0}}");
        assert_eq!(not_storable(&text), (format!("/{again}"), "a key that comes twice in one object"));
    }
    let fine = format!("{{{many}\"40\":40}}");
    assert_eq!(Data::parse(&fine).unwrap().as_str(), fine);
    assert_eq!(not_storable(r#"[{},1e400]"#), ("/1".into(), "a number outside the range of a 64 bit float"));
}

#[test]
fn a_key_with_control_characters_does_not_break_the_line_of_the_error() {
    let error = Data::parse(r#"{"a\nb":{"\u0000ü":1}}"#).unwrap_err();
    assert_eq!(error.to_string(), r"the value at /a\nb/\u{0}ü cannot be stored: a NUL character in a key");
}

#[test]
fn a_long_place_is_cut() {
    let error = Data::parse(&format!(r#"{{"{}":1e999}}"#, "k".repeat(100_000))).unwrap_err().to_string();
    assert!(error.len() < 400 && error.contains("kkk... cannot be stored"), "{error}");
}

proptest::proptest! {
    #[test]
    fn the_canonical_text_is_that_of_the_library(data in arbitrary::arbitrary()) {
        let value = data.to_value();
        let text = serde_json::to_string_pretty(&value).unwrap();
        let read = Data::parse(&text).unwrap();
        proptest::prop_assert_eq!(read.as_str(), value.to_string());
    }
}

#[test]
fn what_is_no_json_is_malformed() {
    for text in ["", "{", "[1,]", "{'a':1}", "01", "nul", "1 2", "\"\u{1}\"", "\"\\ud800\"", "NaN"] {
        assert!(matches!(Data::parse(text), Err(DataError::Malformed(_))), "{text}");
    }
}

/// As the RFC has it, member by member.
fn merged_one_by_one(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return *target = patch.clone() };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let target = target.as_object_mut().unwrap();
    for (key, value) in patch {
        match value {
            Value::Null => drop(target.shift_remove(key)),
            _ => merged_one_by_one(target.entry(key).or_insert(Value::Null), value),
        }
    }
}

proptest::proptest! {
    #[test]
    fn merging_all_at_once_is_merging_one_by_one(one in arbitrary::alike(), other in arbitrary::alike()) {
        let mut expected = one.to_value();
        merged_one_by_one(&mut expected, &other.to_value());
        let merged = one.merged_with(&other);
        proptest::prop_assert_eq!(merged.as_str(), expected.to_string());
    }
}

#[test]
fn merging_follows_rfc_7396() {
    let cases = [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
        (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
        ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
        ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
    ];
    for (target, patch, result) in cases {
        let merged = Data::parse(target).unwrap().merged_with(&Data::parse(patch).unwrap());
        assert_eq!(merged.as_str(), result, "{target} + {patch}");
    }
}
