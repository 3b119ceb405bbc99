//! The parameters of an instance.

use std::path::{Path, PathBuf};

use plugin_api::settings::loose::option;
use plugin_api::settings::{self, Problem};
use serde::Deserialize;
use serde_json::{Map, Value};

const INDEX: &str = "index.html";

/// The parameters as written.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Keys {
    /// The folder whose files are served; an absolute path.
    #[serde(deserialize_with = "option")]
    documents: Option<String>,
    /// The name of the file that is served for a folder.
    ///
    /// Default: `index.html`.
    #[serde(deserialize_with = "option")]
    indexfile: Option<String>,
    /// File to which a line is appended for each request, in the Common Log Format; a relative path is relative to the
    /// state folder.
    ///
    /// Default: none.
    #[serde(deserialize_with = "option")]
    common_log: Option<String>,
}

/// The checked parameters.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) documents: PathBuf,
    pub(crate) indexfile: String,
    pub(crate) common_log: Option<PathBuf>,
}

impl Settings {
    /// Reads the instance's configuration, a JSON object.
    ///
    /// # Errors
    /// What is wrong, one line each.
    pub(crate) fn read(json: &str, state_folder: &Path) -> Result<Self, String> {
        let members: Map<String, Value> =
            serde_json::from_str(json).map_err(|_| "the configuration is not a JSON object".to_owned())?;
        Self::of(&members, state_folder)
            .map_err(|problems| problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))
    }

    fn of(members: &Map<String, Value>, state_folder: &Path) -> Result<Self, Vec<Problem>> {
        let keys: Keys = settings::read(members)?;
        let mut problems = Vec::new();
        let mut wrong = |key: &str, message: &str| {
            problems.push(Problem { key: key.to_owned(), message: message.to_owned() });
        };
        let documents = PathBuf::from(keys.documents.unwrap_or_default());
        if !documents.is_absolute() {
            wrong("documents", "expected the absolute path of the folder whose files are served");
        }
        let indexfile = keys.indexfile.unwrap_or_else(|| INDEX.to_owned());
        if indexfile.is_empty() || indexfile.starts_with('.') || indexfile.contains(['/', '\0']) {
            wrong(
                "indexfile",
                "expected the name of a file, without a folder, that does not begin with a dot",
            );
        }
        let common_log = keys.common_log.map(|path| state_folder.join(path));
        if problems.is_empty() { Ok(Self { documents, indexfile, common_log }) } else { Err(problems) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Settings, String> {
        Settings::read(json, Path::new("/var/lib/state"))
    }

    #[test]
    fn what_is_not_written_has_a_default() {
        let settings = read(r#"{"documents": "/srv/www"}"#).unwrap();
        assert_eq!((settings.documents.to_str(), settings.indexfile.as_str()), (Some("/srv/www"), INDEX));
        assert!(settings.common_log.is_none());
        let settings = read(r#"{"documents": "/srv/www", "common_log": "access.log"}"#).unwrap();
        assert_eq!(settings.common_log.as_deref(), Some(Path::new("/var/lib/state/access.log")));
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let said = read(r#"{"documents": "www", "indexfile": "a/b"}"#).unwrap_err();
        assert!(
            said.contains("documents: expected the absolute path") && said.contains("indexfile: "),
            "{said}"
        );
        assert!(read("{}").unwrap_err().contains("documents"));
        assert!(read(r#"{"document": "/srv"}"#).unwrap_err().contains("did you mean `documents`?"));
        for index in ["", ".htaccess", "../x", "a/"] {
            let json = serde_json::json!({ "documents": "/srv", "indexfile": index }).to_string();
            assert!(read(&json).is_err(), "{index:?}");
        }
    }
}
