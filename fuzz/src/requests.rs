//! Requests to the session routes, through the ABI as the host makes them.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sessman::id::SessionId;

use crate::choice::{one_of, optional};
use crate::data::TEXTS;
use crate::door::{Door, door};
use crate::instance::{Answer, Call, Instance};
use crate::pieces::{self, JSON, text};

const ROUTES: &[&str] = &["new", "login", "get", "profile", "update", "touch", "validate", "end", "logout"];
const METHODS: &[&str] = &["GET", "POST", "PATCH", "DELETE"];

/// Stands for the id of a session that lives.
const ID: &str = "{ID}";

const QUERY: &[&str] = &[
    "session_id=",
    "token=",
    "sessionid=",
    "{ID}",
    "user_id=",
    "username=",
    "data=",
    "metadata=",
    "ttl_seconds=",
    "mode=",
    "merge",
    "replace",
    "tll_seconds=1",
    "&",
    "=",
    "%",
    "%2",
    "%zz",
    "%C3%BC",
    "%ff",
    "%00",
    "+",
    "a",
    "60",
    "0",
    "-1",
    "18446744073709551616",
    ";",
    "#",
    "\u{fc}",
    "%26",
    "&&",
];
const BODY: &[&str] = &[
    "{",
    "}",
    ",",
    "\"session_id\":",
    "\"{ID}\"",
    "\"token\":",
    "\"user_id\":",
    "\"ada\"",
    "\"data\":",
    "\"metadata\":",
    "\"ttl_seconds\":",
    "\"mode\":",
    "\"merge\"",
    "null",
    "{}",
    "[]",
    "1",
    "60",
    "1.5",
    "1e400",
    "\"",
    "\\u0000",
    "\"us\\u0065r_id\":",
    "\u{feff}",
    " ",
    "9223372036854775808",
    "{\"a\":1}",
    "{\"a\":null}",
];
const HEADERS: &[&str] = &[
    "{ID}",
    "PS_SESSID",
    "=",
    ";",
    " ",
    "\"",
    ",",
    "*",
    "W/",
    "W/\"",
    "\"1\"",
    "1",
    "-",
    "gzip",
    "identity",
    "\t",
    "a",
    "%",
];

#[derive(Debug, Clone)]
enum Input {
    /// Anything at all.
    Any(Call),
    /// A user and data that must come back as they are, and whether each character of the user is escaped.
    Whole(String, Map<String, Value>, bool),
}

fn call() -> impl Strategy<Value = Call> {
    let header = prop::sample::select(vec![
        "x-session-id",
        "cookie",
        "if-match",
        "if-none-match",
        "content-encoding",
        "user-agent",
    ]);
    let body = one_of![
        text(BODY, 12),
        text(BODY, 12).prop_map(|inside| format!("{{{inside}}}")),
        text(JSON, 12),
        pieces::json(TEXTS).prop_map(|data| json!({ "session_id": ID, "data": data }).to_string()),
    ];
    let body = one_of![9 => body.prop_map(String::into_bytes), 1 => vec(any::<u8>(), 0..40)];
    let headers = vec((header, text(HEADERS, 8)), 0..3);
    let whole = optional(Just("session_id={ID}&".to_owned()));
    let query = (whole, text(QUERY, 8)).prop_map(|(id, rest)| id.unwrap_or_default() + &rest);
    (0..ROUTES.len() + 1, prop::sample::select(METHODS), query, headers, body, any::<bool>()).prop_map(
        |(route, method, query, headers, body, cross_site)| Call {
            route,
            method,
            query,
            headers,
            body,
            cross_site,
        },
    )
}

/// What holds for every answer.
fn is_an_answer(call: &Call, answer: &Answer) {
    let status = answer.status;
    let known = [200, 201, 304, 400, 401, 403, 404, 409, 412, 413, 415, 422];
    assert!(known.contains(&status), "{call:?} is answered with {status}: {}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    for (name, value) in &answer.headers {
        assert!(!name.is_empty() && !name.contains(|c: char| c.is_ascii_uppercase() || c.is_whitespace()));
        assert!(value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')), "{name}: {value:?}");
    }
    if status == 304 {
        assert!(answer.body.is_empty());
        return;
    }
    let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else {
        panic!("an answer that is not JSON: {}", answer.text())
    };
    if status < 400 {
        assert_eq!(answer.header("content-type"), Some("application/json"));
        return;
    }
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(body["status"], status);
    assert_eq!(body["error"], body["detail"]);
    let Some(error) = body["error"].as_str() else { panic!("a problem without an error: {body}") };
    assert!(!error.is_empty() && error.len() < 1_000, "{error:?}");
    assert!(!error.contains(|c: char| c.is_control()), "{error:?}");
}

/// An id that an answer gave opens its session, once.
fn ends(instance: &Instance, id: &str) {
    assert!(SessionId::parse(id).is_some(), "{id:?} is no id");
    let call = Call { route: 7, method: "POST", query: format!("session_id={id}"), ..Call::default() };
    assert_eq!(instance.answer(&call).status, 200);
    assert_eq!(instance.answer(&call).status, 404);
}

fn any_call(instance: &Instance, call: &Call) {
    let begin = Call { route: 0, method: "POST", query: "user_id=ada".into(), ..Call::default() };
    let begun = instance.answer(&begin).json();
    let Some(id) = begun["session_id"].as_str() else { panic!("no session: {begun}") };
    let call = call.with_id(ID, id);
    let answer = instance.answer(&call);
    is_an_answer(&call, &answer);
    let read = Call { route: 2, method: "GET", query: format!("session_id={id}"), ..Call::default() };
    let after = instance.answer(&read);
    let changes = ["update", "touch", "end", "logout"];
    let may_change = ROUTES.get(call.route).is_some_and(|route| changes.contains(route));
    if answer.status >= 400 || !may_change {
        assert_eq!(after.status, 200, "{call:?} ended the session");
        assert_eq!(after.json(), begun, "{call:?} changed the session, answered with {}", answer.status);
    }
    if answer.status == 201 {
        ends(instance, answer.json()["session_id"].as_str().unwrap_or_default());
    }
    if after.status == 200 {
        ends(instance, id);
    }
}

fn whole(instance: &Instance, user: &str, data: &Map<String, Value>, escaped: bool) {
    let query = if escaped {
        utf8_percent_encode(user, NON_ALPHANUMERIC).to_string()
    } else {
        user.replace('%', "%25").replace('&', "%26").replace('+', "%2b").replace(' ', "+")
    };
    let call = Call {
        route: 0,
        method: "POST",
        query: format!("user_id={query}"),
        body: json!({ "data": data }).to_string().into_bytes(),
        ..Call::default()
    };
    let answer = instance.answer(&call);
    is_an_answer(&call, &answer);
    let plain = !user.is_empty() && user.len() < 100 && !user.contains(|c: char| c.is_control());
    assert!(!plain || answer.status == 201, "{call:?} is refused: {}", answer.text());
    if answer.status == 201 {
        let json = answer.json();
        assert_eq!(json["user_id"], user);
        assert_eq!(json["data"].to_string(), Value::Object(data.clone()).to_string());
        ends(instance, json["session_id"].as_str().unwrap_or_default());
    }
}

pub(crate) fn open() -> Box<dyn Door> {
    let instance = Instance::start();
    let input = one_of![
        4 => call().prop_map(Input::Any),
        1 => (text(TEXTS, 6), pieces::object(TEXTS, pieces::json(TEXTS)), any::<bool>())
            .prop_map(|(user, data, escaped)| Input::Whole(user, data, escaped)),
    ];
    let check = move |input: Input| match input {
        Input::Any(call) => any_call(&instance, &call),
        Input::Whole(user, data, escaped) => whole(&instance, &user, &data, escaped),
    };
    Box::new(door(input, check))
}
