//! What libFuzzer wrote while it ran.

/// The figures of a run.
#[derive(Debug, PartialEq, Eq)]
pub struct Log {
    /// Inputs that were tried.
    pub executions: u64,
    /// Branches that were reached by the inputs it began with.
    pub before: u64,
    /// Branches that were reached in all.
    pub after: u64,
}

impl Log {
    /// What is not in the log is 0.
    pub fn read(text: &str) -> Self {
        // `#1234 NEW cov: 130 ft: 208 corp: ...`
        let event = |line: &str| {
            let (number, rest) = line.strip_prefix('#')?.split_once('\t')?;
            let covered = rest.split_once("cov: ")?.1.split(' ').next()?;
            Some((number.parse().ok()?, covered.parse().ok()?, rest.starts_with("INITED")))
        };
        let mut log = Self { executions: 0, before: 0, after: 0 };
        for (number, covered, is_first) in text.lines().filter_map(event) {
            log.executions = number;
            log.after = covered;
            if is_first {
                log.before = covered;
            }
        }
        log
    }

    /// Why the run ended early.
    pub fn why(text: &str) -> String {
        let found = text.find("FOUND: ").map(|at| &text[at + "FOUND: ".len()..]);
        // Its own words for the crash that we make of a finding come behind.
        let found = found.and_then(|found| found.split("\n==").next()).map(str::trim_end);
        let said = |line: &&str| {
            ["ERROR:", "run interrupted", "Test unit written to"].iter().any(|word| line.contains(word))
        };
        let kept = text.lines().filter(|line| found.is_none() || !line.contains("ERROR:")).filter(said);
        let why = found.into_iter().chain(kept).collect::<Vec<_>>().join("\n  ");
        if why.is_empty() { text.lines().last().unwrap_or("it said nothing").to_owned() } else { why }
    }
}

#[cfg(test)]
mod tests {
    use super::Log;

    const LOG: &str = "INFO: Seed: 1\n\
        #104\tINITED cov: 130 ft: 131 corp: 1/1b exec/s: 0 rss: 40Mb\n\
        #999\tNEW    cov: 208 ft: 310 corp: 9/80b lim: 4 exec/s: 0 rss: 40Mb L: 3/3 MS: 2 -\n";

    #[test]
    fn figures_are_those_of_the_first_and_the_last_line() {
        assert_eq!(Log::read(LOG), Log { executions: 999, before: 130, after: 208 });
        assert_eq!(Log::read("no such file\n"), Log { executions: 0, before: 0, after: 0 });
    }

    #[test]
    fn a_finding_is_told_with_the_file_that_holds_it() {
        let text = format!(
            "{LOG}FOUND: not so\n  with \"a\"\n==77== ERROR: libFuzzer: deadly signal\nSUMMARY: libFuzzer: deadly signal\n\
            artifact_prefix='/f/'; Test unit written to /f/crash-1\n"
        );
        let why = Log::why(&text);
        assert!(why.starts_with("not so\n  with \"a\"\n") && why.ends_with("written to /f/crash-1"), "{why}");
        let why = Log::why("==77== ERROR: libFuzzer: timeout after 120 seconds\n");
        assert!(why.contains("timeout"), "{why}");
        assert_eq!(Log::why("one\nan option is refused\n"), "an option is refused");
    }
}
