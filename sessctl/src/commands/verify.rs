//! `verify`: checks whether a backup is complete and who wrote it, and summarises its content.

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::json;
use sessman::store::sealed::Keys;

use crate::backup::{Backup, FileMac, Written};
use crate::output::{Output, number};
use crate::progress::Progress;

/// With keys, one of them must have made its MAC.
pub(super) fn run(file: &Path, keys: Option<&Keys>, output: Output) -> Result<()> {
    let mut backup = Backup::open(file)?;
    let mut progress = Progress::begin("verified", None);
    let summary = backup.verify(keys.map_or(Written::ByAnybody, Written::With), |_| {
        progress.advance();
        Ok(())
    });
    progress.end();
    let (summary, header) = (summary?, backup.header()?);
    let is = if summary.unread == 0 { "whole" } else { "not damaged, but INCOMPLETE" };
    let mac = match summary.mac {
        FileMac::Right => "its MAC is right: somebody with a key wrote it",
        FileMac::NotAsked => "its MAC was not checked: that takes a configuration with the `encryption_keys`",
        FileMac::None => "it has no MAC: whoever could write to it may have changed it",
    };
    output.answer(
        format!(
            "{}: {is}; {} sessions of {} ({}), of {}\n{mac}\ndigest {}",
            file.display(),
            number(summary.records),
            header.instance,
            header.backend,
            header.created_at,
            summary.digest
        ),
        &json!({
            "file": file, "records": summary.records, "unread": summary.unread, "bytes": summary.bytes,
            "digest": summary.digest, "mac": summary.mac.word(), "created_at": header.created_at,
            "instance": header.instance, "backend": header.backend,
        }),
    )?;
    match summary.unread {
        0 => Ok(()),
        unread => bail!(
            "{} is INCOMPLETE: {} more sessions could not be read when it was written, and are not in it",
            file.display(),
            number(unread)
        ),
    }
}
