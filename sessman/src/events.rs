//! What happens to sessions, for those who watch: this process's own doings, as they happen.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::broadcast::{Receiver, Sender, channel};

use crate::id::Handle;
use crate::time::Timestamp;

/// Events that one who watches may be behind.
const BACKLOG: usize = 1024;

/// Expired sessions that are remembered as told.
const REMEMBERED: usize = 4_096;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A session began.
    Created,
    /// Its data changed.
    Updated,
    /// It got a new id, and maybe a user.
    Rotated,
    /// Somebody ended it.
    Ended,
    /// Its time was over: a read met it so, or a clean-up removed it. Told once, unless many others expire in between.
    Expired,
    /// It gave way to another one of its user.
    Evicted,
    /// Every session ended.
    Cleared,
}

impl Kind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Rotated => "rotated",
            Self::Ended => "ended",
            Self::Expired => "expired",
            Self::Evicted => "evicted",
            Self::Cleared => "cleared",
        }
    }
}

/// Something that happened to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: Kind,
    /// To which session; `None` to all of them.
    pub handle: Option<Handle>,
    /// Whose it is; `None` of an anonymous visitor.
    pub user_id: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Where events are told.
#[derive(Debug)]
pub struct Events {
    sender: Sender<Option<Arc<Event>>>,
    expired: Mutex<Recent>,
    observer: OnceLock<Observer>,
}

/// Who is told of everything, where it happens.
struct Observer(Box<Observing>);

type Observing = dyn Fn(Kind, Handle, Option<&str>) + Send + Sync;

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// The last sessions that were told to have expired, so that those who meet them again do not tell it again.
#[derive(Debug, Default)]
struct Recent {
    order: VecDeque<Handle>,
    handles: HashSet<Handle>,
}

impl Recent {
    /// Whether the handle was not among them; it is now.
    fn add(&mut self, handle: Handle) -> bool {
        if !self.handles.insert(handle) {
            return false;
        }
        self.order.push_back(handle);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.handles.remove(&oldest);
        }
        true
    }
}

impl Default for Events {
    fn default() -> Self {
        Self { sender: channel(BACKLOG).0, expired: Mutex::default(), observer: OnceLock::new() }
    }
}

impl Events {
    /// Has `observer` called for every event of a session, on the thread where it happens: unlike those who watch, it misses
    /// none. The first one stays.
    pub fn observe(&self, observer: impl Fn(Kind, Handle, Option<&str>) + Send + Sync + 'static) {
        let _ = self.observer.set(Observer(Box::new(observer)));
    }

    /// Tells those who watch; it waits for nobody, and costs next to nothing while nobody does.
    pub(crate) fn tell(&self, kind: Kind, handle: Handle, user_id: Option<&str>, at: Timestamp) {
        if let Some(Observer(observer)) = self.observer.get() {
            observer(kind, handle, user_id);
        }
        self.send(kind, Some(handle), user_id, at);
    }

    /// Tells that every session ended.
    pub(crate) fn tell_cleared(&self, at: Timestamp) {
        self.send(Kind::Cleared, None, None, at);
    }

    fn send(&self, kind: Kind, handle: Option<Handle>, user_id: Option<&str>, at: Timestamp) {
        let is_watched = self.sender.receiver_count() > 0;
        if is_watched && (kind != Kind::Expired || handle.is_none_or(|handle| self.expired().add(handle))) {
            let event = Event { kind, handle, user_id: user_id.map(str::to_owned), at };
            // The last one who watched may have left just now.
            let _ = self.sender.send(Some(Arc::new(event)));
        }
    }

    fn expired(&self) -> MutexGuard<'_, Recent> {
        self.expired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything from now on.
    pub fn watch(&self) -> Watch {
        Watch(self.sender.subscribe())
    }

    /// How many watch.
    pub fn watchers(&self) -> usize {
        self.sender.receiver_count()
    }

    /// Lets everybody who watches come to the end.
    pub fn end(&self) {
        let _ = self.sender.send(None);
    }
}

/// Somebody who watches.
#[derive(Debug)]
pub struct Watch(Receiver<Option<Arc<Event>>>);

impl Watch {
    /// The next event; `None` at the end, and to one who fell so far behind that events are lost.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        // Lagged is the end, too: whoever goes on would not know what was missed.
        self.0.recv().await.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[tokio::test]
    async fn who_watches_learns_what_happens_from_then_on() {
        let events = Events::default();
        let handle = Handle::from([1; 12]);
        events.tell(Kind::Created, handle, None, at(1));
        let (mut one, mut two) = (events.watch(), events.watch());
        events.tell(Kind::Ended, handle, Some("ada"), at(2));
        let expected =
            Event { kind: Kind::Ended, handle: Some(handle), user_id: Some("ada".into()), at: at(2) };
        assert_eq!(one.next().await.as_deref(), Some(&expected));
        assert_eq!(two.next().await.as_deref(), Some(&expected));
        events.end();
        assert_eq!(one.next().await, None);
    }

    #[tokio::test]
    async fn who_is_too_slow_is_dropped_and_nobody_waits() {
        let events = Events::default();
        let mut slow = events.watch();
        for n in 0..=BACKLOG as i64 {
            events.tell(Kind::Updated, Handle::from([1; 12]), None, at(n));
        }
        assert_eq!(slow.next().await, None);
    }
}
