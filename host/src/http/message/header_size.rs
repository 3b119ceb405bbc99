//! How large the headers of a request may be.

use hyper::{HeaderMap, Uri};

/// Bytes of a request's line and headers together.
pub(crate) const MAX_HEADER_BYTES: usize = 64 * 1024;

/// The size as HTTP/2 counts it: what a header costs beside its text is in it.
pub(crate) fn header_bytes(headers: &HeaderMap, target: &Uri) -> usize {
    const EACH: usize = 32;
    let headers = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + EACH);
    let target = target.path_and_query().map_or(0, |target| target.as_str().len());
    headers.sum::<usize>() + target
}
