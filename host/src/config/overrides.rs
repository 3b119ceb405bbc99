//! Finds lines of the file that have no effect because an environment variable overrides them.
//!
//! If a key is revoked in the file but still set in a variable, it only looks revoked.

use super::problem::Problem;
use super::raw::RawConfig;

/// The lines that were found.
#[derive(Default)]
pub(super) struct Overrides {
    /// In `[auth]`: the host's keys.
    pub(super) keys: Vec<Problem>,
    /// Other settings, which images and units commonly override.
    pub(super) others: Vec<Problem>,
}

/// Compares the file with the effective configuration.
pub(super) fn find(file: &RawConfig, in_force: &RawConfig) -> Overrides {
    let mut found = Overrides::default();
    for section in &file.sections {
        for line in &section.entries {
            let Some(variable) = in_force.entry(&section.name, &line.key).filter(|entry| entry.literal)
            else {
                continue;
            };
            if variable.text == line.text {
                continue;
            }
            let message = format!(
                "this line counts for nothing: the environment variable {} stands in for it, as it was when the process \
                 started. Take one of them away",
                variable.place
            );
            let problem = Problem::with_key(&line.place, &section.name, &line.key, message);
            if section.name == "auth" { found.keys.push(problem) } else { found.others.push(problem) }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn a_line_that_a_variable_stands_in_for_is_told_of_without_its_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.ini");
        std::fs::write(&path, "[auth]\napikey=list:a-new-random-key\n[network]\nport=1\nbindto=::1\n")
            .unwrap();
        let load = |variables: &[(&str, &str)]| {
            let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            Config::load_with(&path, variables.collect()).unwrap()
        };
        let config = load(&[
            ("PSERVE_AUTH_APIKEY", "withdrawn-long-ago"),
            ("PSERVE_NETWORK_PORT", "2"),
            ("PSERVE_NETWORK_BINDTO", "::1"),
            ("PSERVE_LOG_LEVEL", "debug"),
        ]);
        let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
        let text = warning.to_string();
        assert!(text.contains(":2: [auth] apikey: ") && text.contains("PSERVE_AUTH_APIKEY"), "{text}");
        assert!(!text.contains("withdrawn") && !text.contains("a-new"), "{text}");
        let [note] = &config.notes[..] else { panic!("{:?}", config.notes) };
        assert!(
            note.to_string().contains("[network] port") && note.to_string().contains("PSERVE_NETWORK_PORT")
        );
        let config = load(&[("PSERVE_LOG_LEVEL", "debug")]);
        assert!(config.warnings.is_empty() && config.notes.is_empty());
    }
}
