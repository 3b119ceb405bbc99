//! What parameters cost that a client makes as large as it may, in every place where they come.

use growth::assert_linear;
use sessman::id::SessionId;

use super::{Values, add_query, body, table};
use crate::etag;
use crate::problem::Problem;

/// Bytes; the largest input has four times as many, as many as a request may have.
const SIZE: usize = 256 << 10;

fn joined(count: usize, separator: &str, part: impl Fn(usize) -> String) -> String {
    (0..count).map(part).collect::<Vec<_>>().join(separator)
}

fn handle(n: usize) -> String {
    let id = SessionId::external(&format!("{n:022}")).unwrap();
    id.handle().to_string()
}

#[test]
fn a_body_is_read_in_time_that_grows_as_the_body() {
    type Case = (&'static str, &'static str, bool, fn(usize) -> String);
    // With whether it is taken.
    let cases: [Case; 14] = [
        ("data", "POST", true, |bytes| {
            format!("{{\"data\":{{{}}}}}", joined(bytes / 12, ",", |n| format!("\"{n:06}\":1")))
        }),
        ("data and metadata", "POST", true, |bytes| {
            let half = joined(bytes / 24, ",", |n| format!("\"{n:06}\":1"));
            format!("{{\"data\":{{{half}}},\"metadata\":{{{half}}}}}")
        }),
        ("a patch", "PATCH", true, |bytes| {
            format!("{{{}}}", joined(bytes / 14, ",", |n| format!("\"{n:06}\":null")))
        }),
        ("handles", "POST", false, |bytes| {
            format!("{{\"handles\":[{}]}}", joined(bytes / 19, ",", |n| format!("\"{}\"", handle(n))))
        }),
        ("one handle again and again", "POST", false, |bytes| {
            format!("{{\"handles\":[{}]}}", joined(bytes / 19, ",", |_| format!("\"{}\"", handle(0))))
        }),
        ("members", "POST", false, |bytes| {
            format!("{{{}}}", joined(bytes / 12, ",", |n| format!("\"{n:06}\":1")))
        }),
        ("a name again and again", "POST", false, |bytes| {
            format!("{{{}}}", joined(bytes / 11, ",", |_| "\"data\":{}".into()))
        }),
        ("a long name", "POST", false, |bytes| format!("{{\"{}\":1}}", "\\n".repeat(bytes / 2))),
        ("long names", "POST", false, |bytes| {
            format!("{{{}}}", joined(31, ",", |n| format!("\"{}{n}\":1", "k".repeat(bytes / 31))))
        }),
        ("a long user", "POST", false, |bytes| {
            format!("{{\"user_id\":\"{}\"}}", "\\u00e9".repeat(bytes / 6))
        }),
        ("a user's names", "POST", true, |bytes| {
            let user = "u".repeat(200);
            format!(
                "{{\"user_id\":\"{user}\",\"userid\":\"{user}\",\"user\":\"{user}\"{}}}",
                " ".repeat(bytes)
            )
        }),
        ("a long number", "POST", false, |bytes| format!("{{\"ttl_seconds\":{}}}", "9".repeat(bytes))),
        ("a long id", "POST", true, |bytes| format!("{{\"session_id\":\"{}\"}}", "x".repeat(bytes))),
        ("white space", "POST", true, |bytes| " ".repeat(bytes)),
    ];
    let accepted = table::all();
    for (what, method, taken, body) in cases {
        let read = |body: &String| body::parse(method, body.as_bytes(), &accepted).is_ok();
        assert_eq!(read(&body(SIZE)), taken, "{what}");
        assert_linear(what, SIZE, body, read);
    }
}

/// A server takes no request line as long as these, so that this holds for whatever it takes.
#[test]
fn a_query_is_read_in_time_that_grows_as_the_query() {
    type Case = (&'static str, bool, fn(usize) -> String);
    let cases: [Case; 7] = [
        ("one parameter again and again", true, |bytes| joined(bytes / 7, "&", |_| "user=a".into())),
        ("handles again and again", true, |bytes| {
            let handles = joined(100, ",", handle);
            joined(bytes / 1_700, "&", |_| format!("handles={handles}"))
        }),
        ("handles", false, |bytes| format!("handles={}", joined(bytes / 17, ",", handle))),
        ("a long id", true, |bytes| format!("session_id={}", "x".repeat(bytes))),
        ("escapes", true, |bytes| format!("session_id={}", "%41+".repeat(bytes / 4))),
        ("nothing", true, |bytes| "&".repeat(bytes)),
        ("a long name", false, |bytes| format!("{}=1", "%6e".repeat(bytes / 3))),
    ];
    let accepted = table::all();
    for (what, taken, query) in cases {
        let read = |query: &String| add_query(&mut Values::default(), query, &accepted, true).is_ok();
        assert_eq!(read(&query(SIZE)), taken, "{what}");
        assert_linear(what, SIZE, query, read);
    }
}

#[test]
fn a_list_of_entity_tags_is_read_in_time_that_grows_as_the_list() {
    type Case = (&'static str, fn(usize) -> String);
    let cases: [Case; 4] = [
        ("tags", |bytes| joined(bytes / 8, ",", |n| format!("\"{n}-1\""))),
        ("weak tags and spaces", |bytes| joined(bytes / 12, "  ,  ", |_| "W/\"1-1\"".into())),
        ("a long tag", |bytes| format!("\"{}\"", "1-".repeat(bytes / 2))),
        ("a tag that does not end", |bytes| format!("\"1-1\",\"{}", "x".repeat(bytes))),
    ];
    for (what, list) in cases {
        assert_linear(what, SIZE, list, |list| etag::precondition(Some(list)));
        let none_match = |list: &String| -> Result<bool, Problem> { etag::none_match(list, "\"0-0\"") };
        assert_linear(what, SIZE, list, none_match);
    }
}
