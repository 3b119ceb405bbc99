//! Writes a session as JSON. `data` is canonical text already and goes out as it is.

use std::io::Write as _;

use plugin_api::Response;
use sessman::id::SessionId;
use sessman::record::Record;

use crate::etag;

/// The answer that shows a session; with its id only to who already knows it or just got it.
pub(crate) fn session(status: u16, record: &Record, id: Option<&SessionId>) -> Response {
    Response::json(status, json(record, id))
        .with_header("cache-control", "no-store")
        .with_header("etag", etag::of(record))
}

/// An answer about a session that does not show it.
pub(crate) fn answer(value: &serde_json::Value) -> Response {
    Response::json(200, value.to_string()).with_header("cache-control", "no-store")
}

fn json(record: &Record, id: Option<&SessionId>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512 + record.data.as_str().len() + record.metadata.as_str().len());
    out.push(b'{');
    if let Some(id) = id {
        let mut text = [0; SessionId::TEXT_LENGTH];
        write_to(&mut out, format_args!("\"session_id\":\"{}\",", id.expose(&mut text)));
    }
    write_to(&mut out, format_args!("\"handle\":\"{}\",\"user_id\":", record.handle));
    match &record.user_id {
        Some(user_id) => write_to(&mut out, format_args!("{}", serde_json::Value::from(user_id.as_str()))),
        None => out.extend_from_slice(b"null"),
    }
    write_to(
        &mut out,
        format_args!(
            ",\"data\":{},\"metadata\":{},\"created_at\":\"{}\",\"updated_at\":\"{}\",\"last_activity\":\"{}\",\
             \"expires_at\":\"{}\",\"version\":{}}}",
            record.data.as_str(),
            record.metadata.as_str(),
            record.created_at,
            record.updated_at,
            record.last_activity,
            record.expires_at,
            record.version
        ),
    );
    out
}

fn write_to(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec does not fail.
    let _ = out.write_fmt(text);
}
