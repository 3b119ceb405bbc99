//! Access to a request's header lines by position, for plugins that read all of them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

/// Up to this many lines are scanned from the first one each time. Most requests have no more, and an index would cost
/// more.
const FEW: usize = 16;

/// Finds successive header lines without starting at the first one each time.
#[derive(Default)]
pub(crate) struct Lines<'a> {
    all: OnceLock<Vec<(&'a HeaderName, &'a HeaderValue)>>,
    /// The value that was found last: its number among those of its name, and its position; 32 bits each.
    last: AtomicU64,
}

impl<'a> Lines<'a> {
    /// The line at `index`.
    pub(crate) fn at(
        &self,
        headers: &'a HeaderMap,
        index: usize,
    ) -> Option<(&'a HeaderName, &'a HeaderValue)> {
        match index {
            0..FEW => headers.iter().nth(index),
            _ => self.all(headers).get(index).copied(),
        }
    }

    /// The `nth` value of the header with this name.
    pub(crate) fn value(&self, headers: &'a HeaderMap, name: &str, nth: usize) -> Option<&'a HeaderValue> {
        if nth < FEW {
            // A scan is faster than hashing a name.
            return headers
                .iter()
                .filter(|(known, _)| known.as_str() == name)
                .nth(nth)
                .map(|(_, value)| value);
        }
        let all = self.all(headers);
        let last = self.last.load(Ordering::Relaxed);
        let (number, position) = ((last >> 32) as usize, (last & u64::from(u32::MAX)) as usize);
        // The last position may belong to another name.
        let goes_on = number < nth && all.get(position).is_some_and(|(known, _)| known.as_str() == name);
        let (start, passed) = if goes_on && last > 0 { (position + 1, number + 1) } else { (0, 0) };
        let mut rest = (start..).zip(all.get(start..)?).filter(|(_, (known, _))| known.as_str() == name);
        let (position, (_, value)) = rest.nth(nth - passed)?;
        self.last.store((nth as u64) << 32 | position as u64, Ordering::Relaxed);
        Some(value)
    }

    fn all(&self, headers: &'a HeaderMap) -> &[(&'a HeaderName, &'a HeaderValue)] {
        self.all.get_or_init(|| headers.iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_found_in_any_order() {
        let mut headers = HeaderMap::new();
        let names = ["a", "b", "c"];
        for n in 0..300_u32 {
            headers.append(names[n as usize * 7 % 3], n.into());
        }
        let lines = Lines::default();
        let value = |name, nth| lines.value(&headers, name, nth).cloned();
        let expected = |name: &str, nth| headers.get_all(name).iter().nth(nth).cloned();
        for nth in 0..101 {
            for name in ["a", "b", "c", "d"] {
                assert_eq!(value(name, nth), expected(name, nth), "{name} {nth}");
            }
        }
        for nth in (0..101).rev().chain([50, 50, 51, 53, 20, 99, 100, 16, 0]) {
            assert_eq!(value("b", nth), expected("b", nth), "{nth}");
        }
        let found: Vec<_> = (0..).map_while(|index| lines.at(&headers, index)).collect();
        assert_eq!(found, headers.iter().collect::<Vec<_>>());
    }
}
