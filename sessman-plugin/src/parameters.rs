//! Reads a request's parameters: from the query, a JSON body, and for the id a header or the cookie.

#[cfg(test)]
mod growth;
mod members;
mod query;
mod values;

use std::borrow::Cow;
use std::time::Duration;

use plugin_api::{Request, settings};
use serde_json::value::RawValue;
use sessman::data::{Data, large};
use sessman::id::{Handle, SessionId};
use sessman::rules::UpdateMode;

use crate::presented::{Presented, header_ids};
use crate::problem::Problem;
use members::Members;

/// Sessions on a page unless the request says how many.
const PAGE: usize = 100;

/// What a parameter is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    SessionId,
    UserId,
    Data,
    Metadata,
    TtlSeconds,
    Mode,
    ExternalId,
    Handle,
    Handles,
    Others,
    Cursor,
    Limit,
    Confirm,
}

/// Every name that a parameter may have; the first of each kind is the one in the documentation.
const NAMES: [(&str, Name); 18] = [
    ("session_id", Name::SessionId),
    ("sessionid", Name::SessionId),
    ("token", Name::SessionId),
    ("user_id", Name::UserId),
    ("userid", Name::UserId),
    ("user", Name::UserId),
    ("username", Name::UserId),
    ("data", Name::Data),
    ("metadata", Name::Metadata),
    ("ttl_seconds", Name::TtlSeconds),
    ("mode", Name::Mode),
    ("external_id", Name::ExternalId),
    ("handle", Name::Handle),
    ("handles", Name::Handles),
    ("others", Name::Others),
    ("cursor", Name::Cursor),
    ("limit", Name::Limit),
    ("confirm", Name::Confirm),
];

/// What of `names` a request with this method takes. The body of a PATCH is the change itself (RFC 7396), so that
/// nothing else can be in it.
pub(crate) fn accepted(names: &'static [Name], method: &str) -> Cow<'static, [Name]> {
    let beside_a_patch = |name: &Name| !matches!(name, Name::Data | Name::Mode);
    match method {
        "PATCH" => names.iter().copied().filter(beside_a_patch).collect(),
        _ => names.into(),
    }
}

impl Name {
    /// The name in the documentation.
    pub(crate) fn text(self) -> &'static str {
        NAMES.iter().find(|(_, name)| *name == self).map_or("", |(text, _)| text)
    }
}

/// What a request asks with.
#[derive(Debug)]
pub(crate) struct Parameters {
    pub(crate) session: Presented,
    pub(crate) user_id: Option<String>,
    pub(crate) data: Option<Data>,
    pub(crate) metadata: Option<Data>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) mode: Option<UpdateMode>,
    /// An id that the caller chose.
    pub(crate) external_id: Option<SessionId>,
    /// `None` within for a text that no session has as its handle.
    pub(crate) handle: Option<Option<Handle>>,
    pub(crate) handles: Option<Vec<Handle>>,
    pub(crate) others: bool,
    /// Where a page begins.
    pub(crate) cursor: Option<Handle>,
    /// Sessions on a page.
    pub(crate) limit: usize,
    pub(crate) confirm: bool,
}

impl Parameters {
    /// Reads the parameters of a route that takes those in `accepted`. Any other is refused: a slip in a name must
    /// not be a session that lives longer, or holds less, than was meant.
    pub(crate) fn read(
        request: &Request<'_>,
        body: Body,
        cookie_name: Option<&str>,
        accepted: &[Name],
        ids_in_urls: bool,
    ) -> Result<Self, Problem> {
        let mut found = body.0?;
        found.add_query(request.query(), accepted, ids_in_urls)?;
        if accepted.contains(&Name::SessionId) {
            for text in header_ids(request) {
                // Bytes that are no text are no id, either.
                found.text(Name::SessionId, String::from_utf8_lossy(text).into_owned())?;
            }
        }
        let session = match found.session_id {
            Some(text) => Presented::Explicit(SessionId::read(&text)),
            None => Presented::in_cookie(request, cookie_name),
        };
        Ok(Self {
            session,
            user_id: found.user_id,
            data: found.data,
            metadata: found.metadata,
            ttl: found.ttl,
            mode: found.mode,
            external_id: found.external_id,
            handle: found.handle,
            handles: found.handles,
            others: found.others.unwrap_or(false),
            cursor: found.cursor,
            limit: found.limit.unwrap_or(PAGE),
            confirm: found.confirm.unwrap_or(false),
        })
    }
}

/// What a request's body says, or what is wrong with it.
#[derive(Clone)]
pub(crate) struct Body(Result<Found, Problem>);

impl Body {
    /// Reads the body of a request to a route that takes the parameters in `accepted`.
    pub(crate) fn read(request: &Request<'_>, accepted: &[Name]) -> Self {
        let plain = check_coding(request);
        Self(plain.and_then(|()| Found::in_body(request.method(), request.body(), accepted)))
    }

    /// As [`read`](Self::read), apart from the threads that serve.
    pub(crate) async fn read_apart(request: &Request<'_>, accepted: Cow<'static, [Name]>) -> Self {
        if let Err(problem) = check_coding(request) {
            return Self(Err(problem));
        }
        let (method, body) = (request.method().to_owned(), request.body().to_owned());
        let reading = large::apart(move || Found::in_body(&method, &body, &accepted));
        Self(reading.await.unwrap_or_else(|error| Err(error.into())))
    }
}

fn check_coding(request: &Request<'_>) -> Result<(), Problem> {
    let encodings = request.header_all("content-encoding");
    if encodings.flat_map(|value| value.split(|byte| *byte == b',')).any(|coding| {
        let coding = coding.trim_ascii();
        !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
    }) {
        return Err(Problem::new(415, "Content-Encoding is not supported; send the body as it is"));
    }
    Ok(())
}

/// The body as text; an empty one, or one of JSON's white space, has neither members nor a change.
fn body_text(body: &[u8]) -> Result<&str, Problem> {
    let text = std::str::from_utf8(body).map_err(|_| Problem::malformed("the body is not UTF-8"))?;
    let is_blank = text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    Ok(if is_blank { "" } else { text })
}

fn known(name: &str, accepted: &[Name]) -> Result<Name, Problem> {
    let takes = || NAMES.iter().filter(|(_, kind)| accepted.contains(kind)).map(|(text, _)| *text);
    NAMES
        .iter()
        .find(|(text, kind)| *text == name && accepted.contains(kind))
        .map(|(_, kind)| *kind)
        .ok_or_else(|| {
            let shown: String = name.chars().take(64).collect();
            let hint = match settings::nearest(&shown, takes()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if accepted.is_empty() => "this route takes none".to_owned(),
                None => format!("this route takes {}", takes().collect::<Vec<_>>().join(", ")),
            };
            Problem::malformed(format!("unknown parameter {shown:?}; {hint}"))
        })
}

/// Parameters as they are found, each in one or several places.
#[derive(Clone, Default)]
struct Found {
    session_id: Option<String>,
    user_id: Option<String>,
    data: Option<Data>,
    metadata: Option<Data>,
    ttl: Option<Duration>,
    mode: Option<UpdateMode>,
    external_id: Option<SessionId>,
    handle: Option<Option<Handle>>,
    handles: Option<Vec<Handle>>,
    others: Option<bool>,
    cursor: Option<Handle>,
    limit: Option<usize>,
    confirm: Option<bool>,
}

impl Found {
    fn in_body(method: &str, body: &[u8], accepted: &[Name]) -> Result<Self, Problem> {
        let body = body_text(body)?;
        let mut found = Self::default();
        match (method, body) {
            // The body of a PATCH is the change itself (RFC 7396).
            ("PATCH", patch) => {
                let patch = if patch.is_empty() { "{}" } else { patch };
                let data = Data::parse(patch).map_err(sessman::error::Error::from)?;
                found.data = Some(data);
            }
            (_, "") => {}
            (_, members) => {
                for (name, value) in Members::parse(members)?.iter() {
                    found.json(known(name, accepted)?, value)?;
                }
            }
        }
        Ok(found)
    }

    fn add_query(&mut self, query: &str, accepted: &[Name], ids_in_urls: bool) -> Result<(), Problem> {
        query::pairs(query).try_for_each(|(name, value)| {
            let name = known(&name?, accepted)?;
            if !ids_in_urls && matches!(name, Name::SessionId | Name::ExternalId) {
                let detail = "does not go into a URL here (ids_in_urls is false); send it in the JSON body, or as X-Session-Id";
                return Err(Problem::malformed(format!("{}: {detail}", name.text())));
            }
            self.text(name, value?)
        })
    }

    fn text(&mut self, name: Name, value: String) -> Result<(), Problem> {
        match name {
            Name::SessionId => once(&mut self.session_id, value, name),
            Name::UserId => once(&mut self.user_id, values::user_id(value)?, name),
            Name::TtlSeconds => once(&mut self.ttl, values::seconds(&value)?, name),
            Name::Mode => once(&mut self.mode, values::mode(&value)?, name),
            Name::ExternalId => once(&mut self.external_id, values::external_id(&value)?, name),
            Name::Handle => once(&mut self.handle, Handle::parse(&value), name),
            Name::Handles => once(&mut self.handles, values::handles(value.split(','))?, name),
            Name::Others => once(&mut self.others, values::yes(&value, name)?, name),
            Name::Cursor => once(&mut self.cursor, values::cursor(&value)?, name),
            Name::Limit => once(&mut self.limit, values::limit(&value)?, name),
            Name::Confirm => once(&mut self.confirm, values::yes(&value, name)?, name),
            Name::Data | Name::Metadata => Err(Problem::malformed(format!(
                "{}: goes into the JSON body, not into the query",
                name.text()
            ))),
        }
    }

    fn json(&mut self, name: Name, value: &RawValue) -> Result<(), Problem> {
        let value = value.get();
        match name {
            Name::Data => once(&mut self.data, values::data(value, name)?, name),
            _ if value == "null" => Ok(()),
            Name::Metadata if value.starts_with('{') => {
                once(&mut self.metadata, values::data(value, name)?, name)
            }
            Name::Metadata => Err(Problem::malformed("metadata: expected a JSON object")),
            Name::Handles => {
                let texts: Vec<String> = serde_json::from_str(value)
                    .map_err(|_| Problem::malformed("handles: expected a list of strings"))?;
                once(&mut self.handles, values::handles(texts.iter().map(String::as_str))?, name)
            }
            // Numbers and booleans are written alike in both.
            Name::TtlSeconds | Name::Limit | Name::Others | Name::Confirm if !value.starts_with('"') => {
                self.text(name, value.to_owned())
            }
            // As whole numbers databases number their users with.
            Name::UserId if !value.starts_with('"') => self.text(name, values::whole_number(value, name)?),
            _ => self.text(name, values::string(value, name)?),
        }
    }
}

/// Puts a value in its place; a second one there must be the same.
fn once<T: PartialEq>(place: &mut Option<T>, value: T, name: Name) -> Result<(), Problem> {
    match place {
        Some(earlier) if *earlier != value => {
            Err(Problem::malformed(format!("{}: given more than once, with different values", name.text())))
        }
        _ => {
            *place = Some(value);
            Ok(())
        }
    }
}
