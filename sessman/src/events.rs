//! Events of sessions in this process, for subscribers.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::broadcast::{Receiver, Sender, channel};

use crate::id::Handle;
use crate::time::Timestamp;

/// Events that a subscriber may lag behind before it loses some.
const BACKLOG: usize = 1024;

/// Recently expired sessions that are remembered, to emit their event once.
const REMEMBERED: usize = 4_096;

/// The kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A session was created.
    Created,
    /// Its data changed.
    Updated,
    /// Its id was rotated, and it may have got a user.
    Rotated,
    /// It was ended (revoked).
    Ended,
    /// It expired: a read or a clean-up found it so. Emitted once, unless many others expire in between.
    Expired,
    /// It was evicted for another session of its user.
    Evicted,
    /// All sessions were ended.
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
    /// Its kind.
    pub kind: Kind,
    /// Its session; `None` for all of them.
    pub handle: Option<Handle>,
    /// The session's owner; `None` for an anonymous visitor.
    pub user_id: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// The event bus.
#[derive(Debug)]
pub struct Events {
    sender: Sender<Option<Arc<Event>>>,
    expired: Mutex<Recent>,
    observer: OnceLock<Observer>,
}

/// A callback that gets all events synchronously.
struct Observer(Box<Observing>);

type Observing = dyn Fn(Kind, Handle, Option<&str>) + Send + Sync;

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// The sessions whose expiry was emitted last, to avoid duplicates.
#[derive(Debug, Default)]
struct Recent {
    order: VecDeque<Handle>,
    handles: HashSet<Handle>,
}

impl Recent {
    /// Adds the handle; `true` if it is new.
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
    /// Sets a callback for every event of a session, called on the thread that causes it. Unlike a subscriber it misses none.
    /// Only the first callback that is set stays.
    pub fn observe(&self, observer: impl Fn(Kind, Handle, Option<&str>) + Send + Sync + 'static) {
        let _ = self.observer.set(Observer(Box::new(observer)));
    }

    /// Emits an event. Never blocks, and costs almost nothing without subscribers.
    pub(crate) fn tell(&self, kind: Kind, handle: Handle, user_id: Option<&str>, at: Timestamp) {
        if let Some(Observer(observer)) = self.observer.get() {
            observer(kind, handle, user_id);
        }
        self.send(kind, Some(handle), user_id, at);
    }

    /// Emits that all sessions were ended.
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

    /// Subscribes to all events from now on.
    pub fn watch(&self) -> Watch {
        Watch(self.sender.subscribe())
    }

    /// The number of subscribers.
    pub fn watchers(&self) -> usize {
        self.sender.receiver_count()
    }

    /// Ends the stream of every subscriber.
    pub fn end(&self) {
        let _ = self.sender.send(None);
    }
}

/// A subscription.
#[derive(Debug)]
pub struct Watch(Receiver<Option<Arc<Event>>>);

impl Watch {
    /// The next event; `None` at the end of the stream, or if the subscriber lagged so far behind that events were lost.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        // Lagging ends the stream: the subscriber could not know what it missed.
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
