//! Session ids in the cookies of a request, and which one it is where they name several sessions.

use futures_util::future::join_all;
use plugin_api::{Level, Request, Secret};
use sessman::error::Error;
use sessman::id::SessionId;
use sessman::sessions::Credentials;

use crate::cookie::header;
use crate::service::Service;

/// Ids in the cookies of a request that are looked at; with more of them nobody is logged in.
const MAX_CANDIDATES: usize = 8;
/// Those that a logout ends: more than browsers keep cookies of one site, so that nobody can be kept in by cookies that a
/// sibling of this host planted.
const MAX_ENDED: usize = 200;

/// Bytes that are no text are no id, either.
pub(crate) fn read(text: &[u8]) -> Option<SessionId> {
    std::str::from_utf8(text).ok().and_then(SessionId::read)
}

/// The ids in the cookies of one name. A sibling of this host can have a browser send a second one, and a session that
/// ended may have left one.
#[derive(Debug, Clone)]
pub(crate) struct Candidates {
    /// Those that sessions can have, each once.
    ids: Vec<SessionId>,
}

/// Whose session the cookies name.
#[derive(Debug)]
pub(crate) enum Choice {
    /// This one's. If it is the only id, nobody has looked whether it lives.
    One(SessionId),
    /// Nobody's.
    None,
    /// It cannot be told.
    Several,
}

impl Candidates {
    /// `None` where no cookie has the name.
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

    /// Those that were sent.
    pub(crate) fn ids(&self) -> &[SessionId] {
        &self.ids
    }

    /// The choice, where nobody has to be asked for it.
    pub(crate) fn choose_now(&self) -> Option<Choice> {
        match self.ids.as_slice() {
            [] => Some(Choice::None),
            [only] => Some(Choice::One(only.clone())),
            _ => None,
        }
    }

    /// Whose session it is: that of the one id whose session lives. Looking is no activity.
    ///
    /// # Errors
    /// The store's: who could not be looked at may live.
    pub(crate) async fn choose(self, service: &Service, request: &Request<'_>) -> Result<Choice, Error> {
        if let Some(choice) = self.choose_now() {
            return Ok(choice);
        }
        if self.ids.len() > MAX_CANDIDATES {
            note(service, request, &format!("more than {MAX_CANDIDATES} session ids in its cookies"));
            return Ok(Choice::Several);
        }
        let address = request.client_address();
        let looks =
            self.ids.iter().map(|id| service.sessions.opens(Credentials { id, user_id: None, address }));
        let looks: Result<Vec<bool>, Error> = join_all(looks).await.into_iter().collect();
        let looked: Vec<(SessionId, bool)> = self.ids.into_iter().zip(looks?).collect();
        let dead = looked.iter().filter(|(_, lives)| !lives).count();
        let mut live: Vec<SessionId> =
            looked.into_iter().filter_map(|(id, lives)| lives.then_some(id)).collect();
        // Whoever has a live one is served, and has not guessed: the dead one beside it is an older cookie.
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

/// Somebody may have planted a cookie.
fn note(service: &Service, request: &Request<'_>, what: &str) {
    let Some(times) = service.planted.is_due() else { return };
    let from = request.client_address().map_or_else(|| "-".to_owned(), |address| address.to_string());
    let line = format!(
        "a request with {what}: nobody is logged in by it from={from} request={} requests={times}",
        request.request_id()
    );
    service.host.log(Level::Warn, &line);
}
