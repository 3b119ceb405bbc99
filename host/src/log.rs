//! Where log lines go and which of them.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::config::{Log, LogFormat};

/// The target of lines that plugins write.
pub const PLUGIN_TARGET: &str = "plugin";

/// Logging that cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log file cannot be opened.
    #[error("cannot open the log file {} ([log] file)", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Somebody has begun to log already.
    #[error("logging has begun already")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Begins to log as `log` says; `level` of the command line wins.
///
/// # Errors
/// The file cannot be opened.
pub fn begin(log: &Log, level: Option<Level>) -> Result<(), LogError> {
    let writer = match &log.file {
        None => BoxMakeWriter::new(io::stderr),
        Some(path) => {
            let file = File::options().append(true).create(true).open(path);
            let file = file.map_err(|source| LogError::Open { path: path.clone(), source })?;
            BoxMakeWriter::new(Arc::new(file))
        }
    };
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // Libraries speak up only when something is wrong: their debug lines print requests, and so keys.
    let level = LevelFilter::from_level(level.unwrap_or(log.level));
    let filter = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("pserve", level)
        .with_target(PLUGIN_TARGET, level);
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().map_err(LogError::Twice)
}

/// Logs a line of an instance's plugin.
pub fn plugin_line(instance: &str, level: Level, message: &str) {
    // A line break in a message would let a plugin, or what a client sent it, write lines of other parts.
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
