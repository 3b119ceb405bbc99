//! The log: its output, its levels and its format, all of which can change while the host runs.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Format, Full, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Mode of a log file that is created.
const FILE_MODE: u32 = 0o640;
/// The target of lines from plugins.
pub const PLUGIN_TARGET: &str = "plugin";
/// The target of the access log: if enabled, it is written at every level.
pub const ACCESS_TARGET: &str = "access";

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log file cannot be opened.
    #[error("cannot open the log file {} ([log] file, or -l)", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// Another logger is installed already.
    #[error("logging has begun already")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Settings of the command line, which take precedence over those of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Precedence {
    /// The file to append to.
    pub file: Option<PathBuf>,
    /// The lowest level that is logged.
    pub level: Option<Level>,
}

/// The installed logger.
#[derive(Clone)]
pub struct Logging {
    precedence: Precedence,
    output: Arc<Output>,
    is_json: Arc<AtomicBool>,
    filter: reload::Handle<Targets, Registry>,
}

/// Starts logging as configured in `log`.
///
/// # Errors
/// The file cannot be opened.
pub fn begin(log: &Log, precedence: Precedence) -> Result<Logging, LogError> {
    let output = Arc::new(Output(RwLock::new(open(log, &precedence)?)));
    let is_json = Arc::new(AtomicBool::new(log.format == LogFormat::Json));
    let (filter, handle) = reload::Layer::new(targets(log, &precedence));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(Arc::clone(&output))
        .event_format(Lines::new(Arc::clone(&is_json)));
    tracing_subscriber::registry().with(filter).with(lines).try_init().map_err(LogError::Twice)?;
    Ok(Logging { precedence, output, is_json, filter: handle })
}

/// New settings, ready to be applied without a possible failure.
pub struct NewLogging {
    of: Logging,
    file: Option<File>,
    targets: Targets,
    is_json: bool,
}

impl Logging {
    /// Prepares new settings. The file is reopened even if its name has not changed, so that a file that was rotated
    /// is released.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn prepare(&self, log: &Log) -> Result<NewLogging, LogError> {
        let (targets, is_json) = (targets(log, &self.precedence), log.format == LogFormat::Json);
        Ok(NewLogging { of: self.clone(), file: open(log, &self.precedence)?, targets, is_json })
    }
}

impl NewLogging {
    /// Applies the settings.
    pub fn apply(self) {
        let Logging { output, is_json, filter, .. } = self.of;
        // It fails only when the logger is gone.
        let _ = filter.reload(self.targets);
        *output.0.write().unwrap_or_else(PoisonError::into_inner) = self.file;
        is_json.store(self.is_json, Ordering::Relaxed);
    }
}

fn open(log: &Log, precedence: &Precedence) -> Result<Option<File>, LogError> {
    let Some(path) = precedence.file.as_ref().or(log.file.as_ref()) else { return Ok(None) };
    // It contains addresses of clients and names of users.
    let file = File::options().append(true).create(true).mode(FILE_MODE).open(path);
    file.map(Some).map_err(|source| LogError::Open { path: path.clone(), source })
}

/// Libraries are logged from warnings on only: their debug lines print requests, and so keys.
fn targets(log: &Log, precedence: &Precedence) -> Targets {
    let level = LevelFilter::from_level(precedence.level.unwrap_or(log.level));
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("pserve", level)
        .with_target(PLUGIN_TARGET, level)
        .with_target(ACCESS_TARGET, LevelFilter::INFO)
}

/// The log file, or standard error.
struct Output(RwLock<Option<File>>);

impl Write for &Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A shared lock is enough: the system keeps lines whole that are appended to a file concurrently.
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Some(file) => (&*file).write(line),
            None => io::stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Formats each event as one line of text or one JSON object.
struct Lines {
    is_json: Arc<AtomicBool>,
    text: Format<Full>,
    json: Format<Json>,
}

impl Lines {
    fn new(is_json: Arc<AtomicBool>) -> Self {
        let json =
            Format::default().json().flatten_event(true).with_current_span(false).with_span_list(false);
        Self { is_json, text: Format::default(), json }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.is_json.load(Ordering::Relaxed) {
            self.json.format_event(context, line, event)
        } else {
            self.text.format_event(context, line, event)
        }
    }
}

/// Logs a line from an instance's plugin.
pub fn plugin_line(instance: &str, level: Level, message: &str) {
    // With line breaks, a plugin, or a client through it, could forge lines of other parts.
    let message: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if level == Level::ERROR {
        tracing::error!(target: PLUGIN_TARGET, instance, "{message}");
    } else if level == Level::WARN {
        tracing::warn!(target: PLUGIN_TARGET, instance, "{message}");
    } else if level == Level::INFO {
        tracing::info!(target: PLUGIN_TARGET, instance, "{message}");
    } else if level == Level::DEBUG {
        tracing::debug!(target: PLUGIN_TARGET, instance, "{message}");
    } else {
        tracing::trace!(target: PLUGIN_TARGET, instance, "{message}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(file: PathBuf, level: Level, format: LogFormat) -> Log {
        Log { level, format, file: Some(file), access: true }
    }

    /// One test, because there is one log in a process.
    #[test]
    fn level_format_and_file_change_while_the_host_runs() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
        let logging =
            begin(&log(first.clone(), Level::WARN, LogFormat::Text), Precedence::default()).unwrap();
        tracing::info!(target: "pserve::test", "too quiet");
        tracing::warn!(target: "pserve::test", reason = "a\nb", "loud");
        tracing::info!(target: ACCESS_TARGET, status = 200, "request");
        plugin_line("one", Level::ERROR, "two\nlines");
        let text = read(&first);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("loud reason=\"a\\nb\"") && text.contains("two lines"), "{text}");

        let bad = log(folder.path().join("none/log"), Level::TRACE, LogFormat::Json);
        assert!(matches!(logging.prepare(&bad), Err(LogError::Open { .. })));
        tracing::info!(target: "pserve::test", "still too quiet");
        assert_eq!(read(&first), text);

        logging.prepare(&log(second.clone(), Level::INFO, LogFormat::Json)).unwrap().apply();
        tracing::info!(target: "pserve::test", status = 200, reason = "a\nb", "heard");
        tracing::info!(target: "hyper::test", "of a library");
        plugin_line("one", Level::INFO, "said");
        let lines: Vec<serde_json::Value> =
            read(&second).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!((&lines[0]["message"], &lines[0]["status"]), (&"heard".into(), &200.into()));
        assert_eq!((&lines[1]["message"], &lines[1]["instance"]), (&"said".into(), &"one".into()));
        assert_eq!(read(&first), text);

        // As logrotate does it.
        let moved = folder.path().join("moved");
        std::fs::rename(&second, &moved).unwrap();
        logging.prepare(&log(second.clone(), Level::INFO, LogFormat::Text)).unwrap().apply();
        tracing::info!(target: "pserve::test", "after");
        assert_eq!((read(&moved).lines().count(), read(&second).lines().count()), (2, 1));
    }
}
