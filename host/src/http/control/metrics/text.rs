//! Writes the Prometheus text format, version 0.0.4.

use std::fmt::{Display, Write};

/// Label of the instance in every sample about one. Not `instance`: Prometheus uses that for the scraped address.
pub(super) const INSTANCE: &str = "plugin_instance";

/// The type of a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by size, in `_bucket`, with `_sum` and `_count`.
    Histogram,
    /// Quantiles, with `_sum` and `_count`.
    Summary,
    /// Not declared.
    Untyped,
}

impl Kind {
    /// The name in a `# TYPE` line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Untyped => "untyped",
        }
    }

    /// The type with this name.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        [Self::Counter, Self::Gauge, Self::Histogram, Self::Summary, Self::Untyped]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// An exposition that is being written.
#[derive(Debug, Default)]
pub(crate) struct Text(String);

// Writing to a string does not fail, so the results are ignored.
impl Text {
    /// Starts a family; `help` is one line of plain text.
    pub(crate) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        if !help.is_empty() {
            let _ = writeln!(self.0, "# HELP {name} {help}");
        }
        let _ = writeln!(self.0, "# TYPE {name} {}", kind.name());
    }

    /// Writes one sample of the current family.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"", if index == 0 { '{' } else { ',' });
            escape(&mut self.0, value);
            self.0.push('"');
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// Writes a line that is a complete sample.
    pub(crate) fn line(&mut self, line: &str) {
        let _ = writeln!(self.0, "{line}");
    }

    /// The complete text.
    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

/// Appends a label's value, escaped for use between quotes.
pub(crate) fn escape(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_samples() {
        let mut text = Text::default();
        text.family("a_total", Kind::Counter, "All.");
        text.sample("a_total", &[("path", "a\\\"b\nc"), ("x", "")], 1);
        text.family("b", Kind::Gauge, "");
        text.sample("b", &[], 0.5);
        let expected = "# HELP a_total All.\n# TYPE a_total counter\na_total{path=\"a\\\\\\\"b\\nc\",x=\"\"} 1\n\
                        # TYPE b gauge\nb 0.5\n";
        assert_eq!(text.into_string(), expected);
    }
}
