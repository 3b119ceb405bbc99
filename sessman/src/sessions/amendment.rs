//! What a caller sets of a session beside its data: its terms, its metadata, its labels.

use std::time::Duration;

use super::{Sessions, client_ip};
use crate::data::Data;
use crate::error::Error;
use crate::labels::LabelPatch;
use crate::record::{Change, Record, Terms, TtlSource};
use crate::rules::{OnMaxTtl, Rules};

/// The longest idle timeout where the rules allow any: a hundred years, which every store can hold.
pub const MAX_IDLE: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What a change sets beside the data; `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Amendment {
    /// A time to live of its own: at least one second, at most `max_ttl`.
    pub ttl: Option<Duration>,
    /// An idle timeout of its own, zero for none; at most `max_idle`.
    pub idle: Option<Duration>,
    /// Whether its cookie outlives the browser.
    pub persistent: Option<bool>,
    /// A patch of the metadata (JSON Merge Patch, RFC 7396).
    pub metadata: Option<Data>,
    /// A patch of the labels.
    pub labels: Option<LabelPatch>,
}

impl Amendment {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The time to live of a session that asks for `own`.
pub(super) fn time_to_live(rules: &Rules, own: Option<Duration>) -> Result<(Duration, TtlSource), Error> {
    let max = rules.max_ttl;
    match own {
        None => Ok((rules.session_ttl, TtlSource::Configured)),
        Some(ttl) if ttl >= Duration::from_secs(1) && ttl <= max => Ok((ttl, TtlSource::Caller)),
        Some(ttl) if ttl > max && rules.on_max_ttl == OnMaxTtl::Cut => Ok((max, TtlSource::Caller)),
        Some(_) => Err(Error::Invalid(format!(
            "ttl_seconds: expected a whole number from 1 to {} (max_ttl)",
            max.as_secs()
        ))),
    }
}

/// Whether a session may ask for this idle timeout of its own.
pub(super) fn check_idle(rules: &Rules, own: Option<Duration>) -> Result<(), Error> {
    match (own, rules.longest_idle()) {
        (None, _) => Ok(()),
        (Some(own), None) if own <= MAX_IDLE => Ok(()),
        (Some(_), None) => Err(Error::Invalid(format!(
            "idle_seconds: expected a whole number from 0 to {}",
            MAX_IDLE.as_secs()
        ))),
        (Some(own), Some(longest)) if !own.is_zero() && own <= longest => Ok(()),
        (Some(_), Some(longest)) => Err(Error::Invalid(format!(
            "idle_seconds: expected a whole number from 1 to {} (max_idle)",
            longest.as_secs()
        ))),
    }
}

impl Sessions {
    /// The change that restarts the session's time to live under the amended terms.
    pub(super) async fn amended(&self, record: &Record, amendment: &Amendment) -> Result<Change, Error> {
        let Amendment { ttl, idle, persistent, metadata, labels } = amendment;
        let mut terms = record.terms();
        if ttl.is_some() {
            (terms.ttl, terms.ttl_source) = time_to_live(&self.rules, *ttl)?;
        }
        check_idle(&self.rules, *idle)?;
        let Terms { ttl, ttl_source, idle: old_idle, persistent: old_persistent } = terms;
        let terms = Terms {
            ttl,
            ttl_source,
            idle: idle.or(old_idle),
            persistent: persistent.unwrap_or(old_persistent),
        };
        let metadata = match metadata {
            None => None,
            Some(patch) => Some(self.patched_metadata(record, patch).await?),
        };
        let labels = labels.as_ref().map(|patch| record.labels.patched(patch)).transpose();
        let labels = labels.map_err(|error| Error::Invalid(format!("labels: {error}")))?;
        let now = self.clock.now();
        let times = self.rules.renewed(&record.life().with(&terms), now);
        Ok(Change {
            metadata: metadata.filter(|metadata| *metadata != record.metadata),
            terms: (terms != record.terms()).then_some(terms),
            labels: labels.filter(|labels| *labels != record.labels),
            ..Change::touch(now, times)
        })
    }

    async fn patched_metadata(&self, record: &Record, patch: &Data) -> Result<Data, Error> {
        self.check_size("the patch of metadata", patch)?;
        let metadata = record.metadata.merged_apart(patch).await?;
        self.check_size("metadata", &metadata)?;
        if self.rules.bind_ip && client_ip(&metadata).is_err() {
            return Err(Error::Invalid("metadata.client_ip: expected an IP address (bind_ip)".into()));
        }
        Ok(metadata)
    }
}
