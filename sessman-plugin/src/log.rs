//! Forwards the engine's log to the host's log.

use std::fmt::{self, Write as _};

use plugin_api::{Host, Level};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Forwards events to the host's log from now on. A library has only one log: that of its first instance.
pub(crate) fn forward_to(host: &Host) {
    // It fails for every instance but the first, as intended.
    let _ = tracing::subscriber::set_global_default(Forward(host.clone()));
}

struct Forward(Host);

impl Subscriber for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries may log data that was sent to them; the engine is known not to.
        let ours = metadata.target().starts_with("sessman");
        ours && self.0.log_enabled(level(metadata.level()))
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.0.log(level(event.metadata().level()), &format!("{}{}", line.message, line.fields));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

/// A session's user as a field of a log line, quoted so that a name cannot forge other fields; empty if it has none.
pub(crate) fn user(user_id: Option<&str>) -> String {
    user_id.map_or_else(String::new, |user_id| format!(" user={user_id:?}"))
}

fn level(level: &tracing::Level) -> Level {
    match *level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::TRACE => Level::Trace,
    }
}
