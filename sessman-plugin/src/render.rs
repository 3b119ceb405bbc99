//! Renders answers about sessions.

use std::io::Write as _;

use plugin_api::Response;
use serde_json::Value;
use sessman::id::{Handle, SessionId};
use sessman::record::{Record, Summary};
use sessman::sessions::Preview;
use sessman::store::Page;

use crate::etag;

/// An answer with a session; with its id only for a client that already knows it or has just received it.
pub(crate) fn session(status: u16, record: &Record, id: Option<&SessionId>) -> Response {
    Response::json(status, json(record, id))
        .with_header("cache-control", "no-store")
        .with_header("etag", etag::of(record))
}

/// A JSON answer without a session.
pub(crate) fn answer(value: &Value) -> Response {
    Response::json(200, value.to_string()).with_header("cache-control", "no-store")
}

/// A page of sessions without their data; `current` is the session of the request, if it has one.
pub(crate) fn page(page: &Page<Summary>, current: Option<Handle>) -> Response {
    let mut out = Vec::with_capacity(64 + 512 * page.items.len());
    out.extend_from_slice(b"{\"sessions\":[");
    for (index, summary) in page.items.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{" } else { b",{" });
        if let Some(current) = current {
            write_to(&mut out, format_args!("\"current\":{},", current == summary.handle));
        }
        summary.write_members(&mut out);
        out.push(b'}');
    }
    out.push(b']');
    if !page.unread.is_empty() {
        let unread: Vec<String> = page.unread.iter().map(|handle| format!("\"{handle}\"")).collect();
        write_to(&mut out, format_args!(",\"unreadable\":[{}]", unread.join(",")));
    }
    match page.next {
        Some(next) => write_to(&mut out, format_args!(",\"next\":\"{next}\"}}")),
        None => out.extend_from_slice(b",\"next\":null}"),
    }
    Response::json(200, out).with_header("cache-control", "no-store")
}

/// What an end by filter would end.
pub(crate) fn preview(preview: &Preview) -> Response {
    let Preview { matching, is_complete, first, cutoff } = preview;
    let mut out = Vec::with_capacity(128 + 512 * first.len());
    write_to(
        &mut out,
        format_args!("{{\"matching\":{matching},\"complete\":{is_complete},\"cutoff\":\"{cutoff}\""),
    );
    out.extend_from_slice(b",\"sessions\":[");
    for (index, summary) in first.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{" } else { b",{" });
        summary.write_members(&mut out);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    Response::json(200, out).with_header("cache-control", "no-store")
}

/// An answer that lists the sessions that ended.
pub(crate) fn ended(handles: &[Handle]) -> Response {
    let handles: Vec<String> = handles.iter().map(ToString::to_string).collect();
    answer(&serde_json::json!({ "ended": handles.len(), "handles": handles }))
}

/// The most handles in a log line.
const MAX_LOGGED: usize = 1_000;

/// Handles, formatted for a log line.
pub(crate) fn handles(handles: &[Handle]) -> String {
    let shown: Vec<String> = handles.iter().take(MAX_LOGGED).map(ToString::to_string).collect();
    let more = if handles.len() > MAX_LOGGED { " ..." } else { "" };
    format!("{} [{}{more}]", handles.len(), shown.join(" "))
}

fn json(record: &Record, id: Option<&SessionId>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512 + record.data.as_str().len() + record.metadata.as_str().len());
    out.push(b'{');
    if let Some(id) = id {
        let mut text = [0; SessionId::TEXT_LENGTH];
        out.extend_from_slice(b"\"session_id\":");
        // Writing JSON text into a Vec does not fail.
        let _ = serde_json::to_writer(&mut out, id.expose(&mut text));
        out.push(b',');
    }
    record.write_members(&mut out);
    out.push(b'}');
    out
}

fn write_to(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec does not fail.
    let _ = out.write_fmt(text);
}
