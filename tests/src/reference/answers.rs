//! docs/answers.md: each route of the session service, asked once, and what it answered.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::http::{Answer, Client};
use crate::pserve::{Pserve, Site};

const KEY: &str = "the-api-key-of-the-examples";
const ADMIN_KEY: &str = "the-admin-key-of-the-examples";
/// In the place of every moment.
const MOMENT: &str = "2030-01-01T12:00:00.000Z";

const HEAD: &str = "# Answers

Each route asked once, with the answer of a real `pserve`. Session ids, handles and times are shown as `<...>` and one moment.
Requests carry `Authorization: Bearer KEY`; those of administrators `X-Admin-Key: KEY`, too. [Routes](routes.md) has every
parameter, [HTTP API](http-api.md) the rules.

This page is made by the tests.
";

/// Asks, and writes down what came.
struct Writer {
    page: String,
    client: Client,
}

/// The page, from a service that begins empty.
///
/// # Panics
/// When an answer is not what it should be.
pub fn page() -> String {
    let site = Site::new();
    let config = json!({ "backend": "memory", "admin_key": ADMIN_KEY });
    site.write("sessman.json", config.to_string());
    site.ini(&format!("[auth]\napikey={KEY}\n[plugin_parms]\nsessman=json=sessman.json"));
    let pserve = site.start();
    let client =
        pserve.client().with("Authorization", &format!("Bearer {KEY}")).with("X-Admin-Key", ADMIN_KEY);
    let mut writer = Writer { page: HEAD.to_owned(), client };
    writer.sessions();
    writer.administration(&pserve);
    writer.page
}

impl Writer {
    fn sessions(&mut self) {
        let begun = self.ask(
            "new",
            "POST",
            json!({
                "user_id": "ada",
                "data": { "theme": "dark" },
                "metadata": { "device": "phone" },
                "labels": { "tenant": "acme" },
                "ttl_seconds": 3600,
                "persistent": true,
            }),
            201,
        );
        let id = begun.member("session_id");
        let session = json!({ "session_id": id });
        let with = |name: &str, value: Value| {
            let mut body = session.clone();
            body[name] = value;
            body
        };
        self.ask("get", "POST", session.clone(), 200);
        self.ask("update", "POST", with("data", json!({ "cart": [1, 2] })), 200);
        let patched =
            self.client.with("X-Session-Id", &id).send("PATCH", "/sessman/update", r#"{"cart":null,"n":1}"#);
        self.write(
            "update",
            "PATCH",
            "X-Session-Id: <session id>",
            r#"{"cart": null, "n": 1}"#,
            &patched.expect(200),
        );
        self.ask("touch", "POST", session.clone(), 200);
        let terms =
            json!({ "session_id": id, "idle_seconds": 900, "labels": { "device": "phone", "tenant": null } });
        self.ask("touch", "POST", terms, 200);
        self.ask("validate", "POST", session.clone(), 200);
        let verified = self
            .client
            .with("X-Custom-Auth", KEY)
            .with("X-Session-Id", &id)
            .get("/sessman/verify")
            .expect(200);
        self.write("verify", "GET", "X-Custom-Auth: KEY\nX-Session-Id: <session id>", "", &verified);
        let rotated = self.ask("rotate", "POST", session.clone(), 200);
        let session = json!({ "session_id": rotated.member("session_id") });
        let listed =
            self.client.with("X-Session-Id", &rotated.member("session_id")).get("/sessman/mine").expect(200);
        self.write("mine", "GET", "X-Session-Id: <session id>", "", &listed);
        let mut others = session.clone();
        others["others"] = json!(true);
        self.ask("mine/end", "POST", others, 200);
        self.ask("end", "POST", session.clone(), 200);
        self.ask("get", "POST", session, 404);
    }

    fn administration(&mut self, pserve: &Pserve) {
        let handle = self.begin("ada");
        let listed = self.client.get("/sessman/list?user_id=ada").expect(200);
        self.write("list?user_id=ada", "GET", "", "", &listed);
        self.ask("end-sessions", "POST", json!({ "handles": [handle] }), 200);
        self.by_filter();
        self.begin("ada");
        self.ask("end-user", "POST", json!({ "user_id": "ada" }), 200);
        let counted = self.client.get("/sessman/stats").expect(200);
        self.write("stats", "GET", "", "", &counted);
        self.events(pserve);
        self.ask("cleanup", "POST", json!({}), 200);
        self.ask("clear", "POST", json!({ "confirm": true }), 200);
    }

    /// An end by filter, and before it what it would end.
    fn by_filter(&mut self) {
        let body = json!({ "user_id": "ada", "labels": { "tenant": "acme" } });
        self.client.post("/sessman/new", body).expect(201);
        let counted = self.client.get("/sessman/stats?label=tenant:acme").expect(200);
        self.write("stats?label=tenant:acme", "GET", "", "", &counted);
        let filter = json!({ "label": "tenant:acme", "dry_run": true });
        let preview = self.ask("end-sessions", "POST", filter, 200);
        let act = |at_most: u64| json!({ "label": "tenant:acme", "cutoff": preview.member("cutoff"), "at_most": at_most });
        self.ask("end-sessions", "POST", act(0), 409);
        self.ask("end-sessions", "POST", act(1), 200);
    }

    /// Begins a session that is not shown; its handle.
    fn begin(&mut self, user: &str) -> String {
        let begun = self.client.post("/sessman/new", json!({ "user_id": user })).expect(201);
        begun.member("handle")
    }

    fn ask(&mut self, route: &str, method: &str, body: Value, status: u16) -> Answer {
        let answer = self.client.send(method, &format!("/sessman/{route}"), &body.to_string()).expect(status);
        let shown = shown(&body).to_string();
        self.write(route, method, "", &shown, &answer);
        answer
    }

    fn write(&mut self, route: &str, method: &str, header: &str, body: &str, answer: &Answer) {
        let page = &mut self.page;
        let _ =
            writeln!(page, "\n## {method} {route}: {}\n\n```http\n{method} /sessman/{route}", answer.status);
        for line in [header, body].into_iter().filter(|line| !line.is_empty()) {
            let _ = writeln!(page, "{line}");
        }
        let _ = writeln!(page, "\n{}", answer.status);
        for name in ["etag", "x-session-user", "x-session-handle", "www-authenticate"] {
            if let Some(value) = answer.header(name) {
                let value = if name == "x-session-handle" { "<handle>" } else { value };
                let value = if name == "etag" { "\"<entity tag>\"" } else { value };
                let _ = writeln!(page, "{name}: {value}");
            }
        }
        if !answer.text.is_empty() {
            let _ = writeln!(page, "{:#}", shown(&answer.json()));
        }
        page.push_str("```\n");
    }

    fn events(&mut self, pserve: &Pserve) {
        let mut stream = TcpStream::connect(pserve.address()).expect("it listens");
        let request = format!(
            "GET /sessman/events HTTP/1.1\r\nHost: localhost\r\nX-Custom-Auth: {KEY}\r\nX-Admin-Key: {ADMIN_KEY}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("it is sent");
        let mut lines = BufReader::new(stream).lines().map(|line| line.expect("a line"));
        // The first comment says that it watches.
        assert!(lines.any(|line| line == ":"), "the stream begins");
        self.begin("ada");
        let event = lines.find(|line| line.starts_with("event: ")).expect("an event");
        let data = lines.next().expect("its data");
        let data: Value = serde_json::from_str(data.trim_start_matches("data: ")).expect("JSON");
        let _ = writeln!(
            self.page,
            "\n## GET events: 200\n\n```http\nGET /sessman/events\n\n200\ncontent-type: text/event-stream\n{event}\ndata: {}\n```",
            shown(&data)
        );
    }
}

/// What differs from run to run in one form.
fn shown(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| {
                let shown = match (name.as_str(), value) {
                    ("session_id", Value::String(_)) => json!("<session id>"),
                    ("handle", Value::String(_)) => json!("<handle>"),
                    ("handles", Value::Array(handles)) => vec![json!("<handle>"); handles.len()].into(),
                    (_, value) => shown(value),
                };
                (name.clone(), shown)
            })
            .collect(),
        Value::Array(items) => items.iter().map(shown).collect(),
        Value::String(text) if is_moment(text) => json!(MOMENT),
        other => other.clone(),
    }
}

fn is_moment(text: &str) -> bool {
    text.len() == MOMENT.len()
        && text
            .bytes()
            .zip(MOMENT.bytes())
            .all(|(found, form)| if form.is_ascii_digit() { found.is_ascii_digit() } else { found == form })
}
