//! From a request to an answer.

use std::fs::{File, Metadata};
use std::io;
use std::net::IpAddr;
use std::path::Path;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use plugin_api::{Caller, Host, Level, Request, Response};
use rustix::io::Errno;
use tokio::runtime::Handle;

use crate::access_log::{AccessLog, Entry};
use crate::body;
use crate::condition::{Conditions, Validators, Verdict};
use crate::folder::{Folder, Found};
use crate::media_type;
use crate::path::{self, PathError};
use crate::range::{self, Part};

/// What an active instance serves.
pub(crate) struct Site {
    pub(crate) folder: Folder,
    /// The name of the file that is served for a folder.
    pub(crate) index: String,
    pub(crate) log: Option<AccessLog>,
    /// The threads that read large files.
    pub(crate) threads: Handle,
    pub(crate) host: Host,
}

/// What a request asks for, in a form that another thread can have.
pub(crate) struct Asked {
    method: String,
    /// The whole path, as received.
    path: String,
    below_mount: String,
    query: String,
    scheme: String,
    client: Option<IpAddr>,
    /// Whether the answer is for whoever has a key or a session, and for no cache that others use.
    is_private: bool,
    conditions: Conditions,
    range: Option<Vec<u8>>,
}

impl Asked {
    pub(crate) fn of(request: &Request<'_>) -> Self {
        Self {
            method: request.method().to_owned(),
            path: request.path().to_owned(),
            below_mount: request.path_below_mount().to_owned(),
            query: request.query().to_owned(),
            scheme: request.scheme().to_owned(),
            client: request.client_address(),
            is_private: request.caller() != Caller::Open || request.principal().is_some(),
            conditions: Conditions::of(request),
            range: request.header("range").map(<[u8]>::to_vec),
        }
    }

    fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    fn has_slash(&self) -> bool {
        self.path.ends_with('/')
    }
}

/// An answer, and what the log says of it.
struct Answer {
    response: Response,
    status: u16,
    bytes: u64,
}

impl Answer {
    fn new(status: u16, response: Response) -> Self {
        Self { response, status, bytes: 0 }
    }

    fn problem(status: u16, detail: &str) -> Self {
        Self::new(status, Response::problem(status, detail))
    }

    fn not_found() -> Self {
        Self::problem(404, "there is no such file")
    }
}

impl Site {
    /// Answers a request. It reads from the disk.
    pub(crate) fn answer(&self, asked: &Asked) -> Response {
        let Answer { response, status, bytes } = self.found(asked);
        if let Some(log) = &self.log {
            let Asked { method, path, scheme, client, .. } = asked;
            log.write(&Entry { client: *client, method, path, scheme, status, bytes });
        }
        response
    }

    fn found(&self, asked: &Asked) -> Answer {
        let mut path = match path::read(&asked.below_mount) {
            Ok(path) => path,
            Err(PathError::NoName) => return Answer::not_found(),
            Err(PathError::Malformed) => {
                return Answer::problem(400, "the path is not well-formed: percent-encode it");
            }
        };
        let mut found = self.folder.find(&path);
        if matches!(found, Ok(Found::Folder)) {
            if !asked.has_slash() {
                return redirect(asked);
            }
            path.push(&self.index);
            found = self.folder.find(&path);
        } else if asked.has_slash() {
            return Answer::not_found();
        }
        match found {
            Ok(Found::File(file, metadata)) => {
                self.file(asked, &path, file, &metadata).unwrap_or_else(|error| self.failed(asked, &error))
            }
            Ok(Found::Folder | Found::Other) => Answer::not_found(),
            Err(error) => self.failed(asked, &error),
        }
    }

    fn file(&self, asked: &Asked, path: &Path, file: File, metadata: &Metadata) -> io::Result<Answer> {
        let validators = Validators::of(metadata);
        let length = metadata.len();
        match asked.conditions.check(&validators) {
            Verdict::Send => {}
            Verdict::NotModified => {
                return Ok(Answer::new(304, with_validators(asked, &validators, Response::new(304))));
            }
            Verdict::Failed => return Ok(Answer::problem(412, "the file is another one by now")),
        }
        let is_allowed = !asked.is_head() && asked.conditions.allow_range(&validators);
        let range = asked.range.as_deref().filter(|_| is_allowed);
        let part = range.map_or(Part::Whole, |range| range::read(range, length));
        let (status, bytes) = match part {
            Part::Whole => (200, 0..length),
            Part::Bytes(bytes) => (206, bytes),
            Part::Beyond => {
                let refused = Answer::problem(416, "the file does not have these bytes");
                let response = refused.response.with_header("content-range", format!("bytes */{length}"));
                return Ok(Answer { response, ..refused });
            }
        };
        let content_range = format!("bytes {}-{}/{length}", bytes.start, bytes.end.saturating_sub(1));
        let sent = if asked.is_head() { 0 } else { bytes.end - bytes.start };
        let response = body::response(status, file, bytes, &self.threads)?
            .with_header("content-type", media_type::of(path))
            .with_header("accept-ranges", "bytes");
        let mut response = with_validators(asked, &validators, response);
        if status == 206 {
            response = response.with_header("content-range", content_range);
        }
        Ok(Answer { response, status, bytes: sent })
    }

    fn failed(&self, asked: &Asked, error: &io::Error) -> Answer {
        match Errno::from_io_error(error) {
            Some(
                Errno::NOENT
                | Errno::NOTDIR
                | Errno::LOOP
                | Errno::XDEV
                | Errno::NAMETOOLONG
                | Errno::NXIO
                | Errno::AGAIN,
            ) => Answer::not_found(),
            Some(Errno::ACCESS | Errno::PERM) => Answer::problem(403, "the server may not read this file"),
            _ => {
                self.host.log(Level::Error, &format!("cannot serve {}: {error}", asked.path));
                let problem = Answer::problem(503, "the file cannot be read now; the log says why");
                Answer { response: problem.response.with_header("retry-after", "1"), ..problem }
            }
        }
    }
}

fn with_validators(asked: &Asked, validators: &Validators, response: Response) -> Response {
    // May be kept, but is asked for again each time: what is in the folder changes at any time.
    let cache = if asked.is_private { "private, no-cache" } else { "no-cache" };
    response
        .with_header("etag", validators.etag.clone())
        .with_header("last-modified", validators.last_modified())
        .with_header("cache-control", cache)
}

/// To the same path with a slash behind it, so that relative links in the index file lead into the folder.
///
/// The target is relative, so that it is right behind a proxy, too, and begins with `./`, so that it stays on this
/// server, whatever the path is: `//host` would be another one.
fn redirect(asked: &Asked) -> Answer {
    /// What must not be in a header or in a URL. A percent sign stays: all this is encoded already.
    const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\\');
    const NAME: &AsciiSet = &QUERY.add(b'?').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');
    let name = asked.path.rsplit('/').next().unwrap_or_default();
    let mut location = format!("./{}/", utf8_percent_encode(name, NAME));
    if !asked.query.is_empty() {
        location.push('?');
        location.extend(utf8_percent_encode(&asked.query, QUERY));
    }
    let response =
        Response::new(301).with_header("location", location).with_header("cache-control", "no-cache");
    Answer::new(301, response)
}
