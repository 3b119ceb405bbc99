//! A store that fails is said in the log.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as Values};
use tracing::{Event, Level, Subscriber};

use super::unsure::Unsure;
use super::*;

/// Keeps the lines that are logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Level, String)>>>);

impl Log {
    fn take(&self) -> Vec<(Level, String)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push((*event.metadata().level(), message.0));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Values<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_said_when_it_begins_once_a_minute_and_when_it_ends() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let store = Arc::new(Unsure::default());
    let clock = Arc::new(ManualClock::new(START));
    let sessions = Arc::new(Sessions::new(store.clone(), clock, Rules::default()));
    let (id, _) = sessions.create(new(None)).await.unwrap();
    assert_eq!(log.take(), []);

    let touch = || async { sessions.touch(holder(&id)).await };
    store.silent_updates.store(u32::MAX, Ordering::SeqCst);
    for _ in 0..80 {
        assert!(touch().await.is_err());
    }
    let line = "a call of the session store failed: the session store is not available: no answer came";
    assert_eq!(log.take(), [(Level::WARN, line.to_owned())]);
    tokio::time::sleep(secs(60)).await;
    // Reading works all the time.
    assert!(sessions.find(holder(&id)).await.is_ok());
    assert!(touch().await.is_err());
    let line = "80 more calls of the session store failed within 60 s: the session store is not available: no answer came";
    assert_eq!(log.take(), [(Level::WARN, line.to_owned())]);

    // One that hangs is another kind, whoever gives it up.
    store.silent_updates.store(0, Ordering::SeqCst);
    store.delay.store(1_500, Ordering::SeqCst);
    assert!(touch().await.is_err());
    let line = "a call of the session store failed: the session store is not available: no answer within 2 s";
    assert_eq!(log.take(), [(Level::WARN, line.to_owned())]);

    store.delay.store(0, Ordering::SeqCst);
    touch().await.unwrap();
    tokio::time::sleep(secs(10)).await;
    assert_eq!(log.take(), [], "it may be a part of the store that works");
    touch().await.unwrap();
    touch().await.unwrap();
    let line = "the session store works again: 82 calls failed within 62 s";
    assert_eq!(log.take(), [(Level::INFO, line.to_owned())]);
}
