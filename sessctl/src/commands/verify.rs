//! `verify`: whether a backup is whole, and what is in it.

use std::path::Path;

use anyhow::Result;
use serde_json::json;

use crate::backup::Backup;
use crate::output::{Output, number};
use crate::progress::Progress;

pub(super) fn run(file: &Path, output: Output) -> Result<()> {
    let mut backup = Backup::open(file)?;
    let mut progress = Progress::begin("verified", None);
    let summary = backup.verify(|_| {
        progress.advance();
        Ok(())
    });
    progress.end();
    let (summary, header) = (summary?, backup.header()?);
    output.answer(
        format!(
            "{}: whole; {} sessions of {} ({}), of {}\ndigest {}",
            file.display(),
            number(summary.records),
            header.instance,
            header.backend,
            header.created_at,
            summary.digest
        ),
        &json!({
            "file": file, "records": summary.records, "bytes": summary.bytes, "digest": summary.digest,
            "created_at": header.created_at, "instance": header.instance, "backend": header.backend,
        }),
    )
}
