//! Session ids in the cookies of a request, and the choice among several of them.

use futures_util::future::join_all;
use plugin_api::{Level, Request, Secret};
use sessman::error::Error;
use sessman::id::SessionId;
use sessman::sessions::{Credentials, Key};

use crate::cookie::header;
use crate::service::Service;

/// Limit of ids in cookies that are looked up; a request with more of them is not authenticated.
const MAX_CANDIDATES: usize = 8;
/// Limit of ids in cookies that a logout ends. It is larger than the number of cookies that browsers keep for a site,
/// so that cookies planted by a sibling domain cannot prevent a logout.
const MAX_ENDED: usize = 200;

/// Parses an id; bytes that are not text are not an id.
pub(crate) fn read(text: &[u8]) -> Option<SessionId> {
    std::str::from_utf8(text).ok().and_then(SessionId::read)
}

/// The ids in the cookies with one name. There may be several: a sibling domain can plant a second cookie, and an
/// older session may have left one.
#[derive(Debug, Clone)]
pub(crate) struct Candidates {
    /// The well-formed ids, each once.
    ids: Vec<SessionId>,
}

/// The session that the cookies identify.
#[derive(Debug)]
pub(crate) enum Choice {
    /// This session. If it is the only id, it was not checked whether the session is live.
    One(SessionId),
    /// No session.
    None,
    /// Ambiguous: more than one live session.
    Several,
}

impl Candidates {
    /// The ids in cookies of this name; `None` if there is no such cookie.
    pub(crate) fn of(request: &Request<'_>, name: &str) -> Option<Self> {
        let mut values =
            request.header_all("cookie").flat_map(|line| header::values(line, name.as_bytes())).peekable();
        values.peek()?;
        let mut ids = Vec::new();
        for id in values.filter_map(read) {
            if ids.len() < MAX_ENDED && !ids.contains(&id) {
                ids.push(id);
            }
        }
        Some(Self { ids })
    }

    /// The ids that were sent.
    pub(crate) fn ids(&self) -> &[SessionId] {
        &self.ids
    }

    /// The choice, if it needs no lookup.
    pub(crate) fn choose_now(&self) -> Option<Choice> {
        match self.ids.as_slice() {
            [] => Some(Choice::None),
            [only] => Some(Choice::One(only.clone())),
            _ => None,
        }
    }

    /// Chooses the one id whose session is live. The lookups do not count as activity.
    ///
    /// # Errors
    /// Those of the store: a session that could not be looked up may be live.
    pub(crate) async fn choose(self, service: &Service, request: &Request<'_>) -> Result<Choice, Error> {
        if let Some(choice) = self.choose_now() {
            return Ok(choice);
        }
        if self.ids.len() > MAX_CANDIDATES {
            note(service, request, &format!("more than {MAX_CANDIDATES} session ids in its cookies"));
            return Ok(Choice::Several);
        }
        let address = request.client_address();
        let looks = self
            .ids
            .iter()
            .map(|id| service.sessions.opens(Credentials { key: Key::Id(id), user_id: None, address }));
        let looks: Result<Vec<bool>, Error> = join_all(looks).await.into_iter().collect();
        let looked: Vec<(SessionId, bool)> = self.ids.into_iter().zip(looks?).collect();
        let dead = looked.iter().filter(|(_, lives)| !lives).count();
        let mut live: Vec<SessionId> =
            looked.into_iter().filter_map(|(id, lives)| lives.then_some(id)).collect();
        // With one live session, the request is served and not counted as a guess: the dead id is that of an older
        // cookie.
        if live.len() != 1 {
            for _ in 0..dead {
                request.brought_wrong(Secret::SessionId);
            }
        }
        Ok(match (live.pop(), live.pop()) {
            (None, _) => Choice::None,
            (Some(id), None) => Choice::One(id),
            (Some(one), Some(other)) => {
                let handles = format!("{} and {}", other.handle(), one.handle());
                note(service, request, &format!("cookies of two live sessions, {handles}"));
                Choice::Several
            }
        })
    }
}

/// Logs that somebody may have planted a cookie.
fn note(service: &Service, request: &Request<'_>, what: &str) {
    let Some(times) = service.planted.is_due() else { return };
    let from = request.client_address().map_or_else(|| "-".to_owned(), |address| address.to_string());
    let line = format!(
        "a request with {what}: nobody is logged in by it from={from} request={} requests={times}",
        request.request_id()
    );
    service.host.log(Level::Warn, &line);
}
