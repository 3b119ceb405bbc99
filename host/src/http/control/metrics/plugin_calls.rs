//! Counts calls from one instance to another.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::text::{INSTANCE, Kind, Text};

/// Calls by who called, who was called, and how it ended. The names are those of the configuration.
#[derive(Debug, Default)]
pub(super) struct PluginCalls(Mutex<BTreeMap<(String, String, &'static str), u64>>);

impl PluginCalls {
    /// Counts one.
    pub(super) fn count(&self, from: &str, to: &str, outcome: &'static str) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.entry((from.to_owned(), to.to_owned(), outcome)).or_default() += 1;
    }

    /// Writes them.
    pub(super) fn write(&self, text: &mut Text) {
        let name = "pserve_plugin_calls_total";
        text.family(name, Kind::Counter, "Calls from one instance to another, by how they ended.");
        for ((from, to, outcome), count) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            text.sample(name, &[(INSTANCE, from), ("to", to), ("outcome", outcome)], count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_apart_by_both_ends_and_outcome() {
        let calls = PluginCalls::default();
        for outcome in ["answered", "late", "answered"] {
            calls.count("visits", "sessman", outcome);
        }
        let mut text = Text::default();
        calls.write(&mut text);
        let line =
            "pserve_plugin_calls_total{plugin_instance=\"visits\",to=\"sessman\",outcome=\"answered\"} 2";
        assert!(text.into_string().lines().any(|found| found == line));
    }
}
