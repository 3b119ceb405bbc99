//! Parses a request's body.

use std::borrow::Cow;

use plugin_api::Request;
use sessman::data::{Data, large};

use super::input::Input;
use super::known;
use super::members::Members;
use super::table::{Name, Values};
use crate::problem::Problem;
use crate::problem_type::ProblemType;

/// The parameters in a request's body, or what is wrong with it.
#[derive(Clone)]
pub(crate) struct Body(pub(super) Result<Values, Problem>);

impl Body {
    /// Parses the body of a request to a route that accepts the parameters in `accepted`.
    pub(crate) fn read(request: &Request<'_>, accepted: &[Name]) -> Self {
        let plain = check_coding(request);
        Self(plain.and_then(|()| parse(request.method(), request.body(), accepted)))
    }

    /// As [`read`](Self::read), on a thread other than those that serve requests.
    pub(crate) async fn read_apart(request: &Request<'_>, accepted: Cow<'static, [Name]>) -> Self {
        if let Err(problem) = check_coding(request) {
            return Self(Err(problem));
        }
        let (method, body) = (request.method().to_owned(), request.body().to_owned());
        let reading = large::apart(move || parse(&method, &body, &accepted));
        Self(reading.await.unwrap_or_else(|error| Err(error.into())))
    }
}

fn check_coding(request: &Request<'_>) -> Result<(), Problem> {
    let encodings = request.header_all("content-encoding");
    if encodings.flat_map(|value| value.split(|byte| *byte == b',')).any(|coding| {
        let coding = coding.trim_ascii();
        !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
    }) {
        return Err(Problem::new(
            ProblemType::UnsupportedCoding,
            "Content-Encoding is not supported; send the body as it is",
        ));
    }
    Ok(())
}

/// Parses the body of a request with this method.
pub(super) fn parse(method: &str, body: &[u8], accepted: &[Name]) -> Result<Values, Problem> {
    let mut values = Values::default();
    match (method, text(body)?) {
        // The body of a PATCH is the change itself (RFC 7396).
        ("PATCH", patch) => {
            let patch = if patch.is_empty() { "{}" } else { patch };
            values.data = Some(Data::parse(patch).map_err(sessman::error::Error::from)?);
        }
        // Generated clients send `null` for an absent body.
        (_, "" | "null") => {}
        (_, members) => {
            for (name, value) in Members::parse(members)?.iter() {
                let (name, input) = (known::find(name, accepted)?, Input::Json(value.get()));
                // For `data`, `null` is a value like any other.
                if name == Name::Data || !input.is_null() {
                    values.put(name, input)?;
                }
            }
        }
    }
    Ok(values)
}

/// The body as text, without a byte order mark and surrounding JSON white space; an empty body has neither members nor a change.
fn text(body: &[u8]) -> Result<&str, Problem> {
    let text = std::str::from_utf8(body).map_err(|_| Problem::malformed("the body is not UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Ok(text.trim_matches([' ', '\t', '\n', '\r']))
}
