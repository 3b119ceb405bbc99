//! Figures as Markdown.

use crate::measure::Outcome;

/// A table with these columns.
pub(crate) fn table(columns: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let mut text = line(columns.to_vec());
    text.push_str(&line(columns.iter().map(|_| "---").collect()));
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text
}

/// The figures of a row of the main table.
pub(crate) const FIGURES: [&str; 7] =
    ["requests/s", "of bare hyper", "requests per CPU-second", "p50", "p99", "errors", "memory"];

/// Of one contestant, in the order of [`FIGURES`].
pub(crate) fn figures(outcome: &Outcome) -> Vec<String> {
    vec![
        thousands(outcome.rate),
        format!("{:.3}", outcome.ratio),
        thousands(outcome.per_cpu),
        time(outcome.p50),
        time(outcome.p99),
        outcome.errors.to_string(),
        format!("{} MiB", outcome.memory / 1024),
    ]
}

/// Rounded to whole numbers, with commas.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Of microseconds.
pub(crate) fn time(micros: f64) -> String {
    if micros < 1_000.0 { format!("{micros:.0} µs") } else { format!("{:.1} ms", micros / 1_000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        assert_eq!(thousands(1_234_567.8), "1,234,568");
        assert_eq!((thousands(12.0), thousands(123.0)), ("12".into(), "123".into()));
        assert_eq!((time(450.0), time(2_500.0)), ("450 µs".into(), "2.5 ms".into()));
        assert_eq!(
            table(&["a", "b"], &[vec!["1".into(), "2".into()]]),
            "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
        );
    }
}
