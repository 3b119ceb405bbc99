//! The limit of the size of request headers.

use hyper::{HeaderMap, Uri};

/// Limit of a request's line and headers together, in bytes.
pub(crate) const MAX_HEADER_BYTES: usize = 64 * 1024;

/// The size as HTTP/2 counts it, which includes a fixed overhead for each header.
pub(crate) fn header_bytes(headers: &HeaderMap, target: &Uri) -> usize {
    const EACH: usize = 32;
    let headers = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + EACH);
    let target = target.path_and_query().map_or(0, |target| target.as_str().len());
    headers.sum::<usize>() + target
}
