//! Finds a configured instance of sessman, with pserve's own code for configuration files.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use pserve::config::{Config as HostConfig, ConfigError, InstanceConfig};
use pserve::healthcheck;
use serde_json::{Map, Value};
use sessman::config::{Config, Surroundings};
use sessman::secret::Secret;

use crate::environment::Environment;
use crate::failure::Usage;

/// The plugin whose instances this program manages.
const PLUGIN: &str = "sessman";

/// A configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// An INI file of pserve.
    Ini(PathBuf),
    /// The JSON file of an instance, as a line of an INI file can name it.
    Json(PathBuf),
}

impl Source {
    /// By its name: a JSON file, or else an INI file.
    pub(crate) fn of(path: &Path) -> Self {
        match path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
            true => Self::Json(path.to_owned()),
            false => Self::Ini(path.to_owned()),
        }
    }
}

/// A configured instance.
pub(crate) struct Site {
    /// Its name.
    pub(crate) instance: String,
    /// Its configuration.
    pub(crate) config: Config,
    /// The first `admin_key`.
    pub(crate) admin_key: Option<Secret>,
    /// The URL of a pserve with this configuration; else what to do to provide it.
    pub(crate) url: Result<String, String>,
}

impl Site {
    /// Reads the configuration of the named instance, or of the only one.
    ///
    /// # Errors
    /// [`Usage`] with all problems.
    pub(crate) fn load(source: &Source, instance: Option<&str>, environment: &Environment) -> Result<Self> {
        let host = match source {
            Source::Ini(path) => HostConfig::load_with(path, environment.variables()),
            Source::Json(path) => host_of_json(path, instance.unwrap_or(PLUGIN), environment),
        };
        let host = host.map_err(|error| {
            Usage(match &error {
                ConfigError::Invalid(_) => error.to_string(),
                ConfigError::Read { source, .. } if source.kind() == ErrorKind::NotFound => {
                    format!("{error}: {source}; name one with -i FILE or --json-file FILE")
                }
                ConfigError::Read { source, .. } => format!("{error}: {source}"),
            })
        })?;
        let chosen = choose(&host, instance).map_err(Usage)?;
        Self::of(&host, &chosen, environment)
    }

    fn of(host: &HostConfig, chosen: &InstanceConfig, environment: &Environment) -> Result<Self> {
        let members: Map<String, Value> =
            serde_json::from_str(chosen.parameters.json()).context("the parameters are no JSON object")?;
        let surroundings = Surroundings {
            instance: &chosen.name,
            state_folder: &host.paths.state,
            environment: &|name| environment.get(name),
        };
        let config = Config::read(&members, &surroundings).map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
            Usage(format!("the configuration of {} cannot be used{}", chosen.name, lines.concat()))
        })?;
        let key = match members.get("admin_key") {
            Some(Value::Array(keys)) => keys.first(),
            other => other,
        };
        let admin_key = key.and_then(Value::as_str).filter(|key| !key.is_empty()).map(Secret::new);
        let url = match healthcheck::address(host) {
            Err(_) => Err("[network] port is 0, so the file does not say where pserve listens; say --url \
                           http://127.0.0.1:PORT"
                .to_owned()
                + &chosen.mount),
            Ok(address) if host.tls.is_some() => Err(format!(
                "pserve speaks TLS; say --url https://NAME:{}{} with a name of its certificate",
                address.port(),
                chosen.mount
            )),
            Ok(address) => Ok(format!("http://{address}{}", chosen.mount)),
        };
        Ok(Self { instance: chosen.name.clone(), config, admin_key, url })
    }

    /// The store in a few words, without secrets.
    pub(crate) fn describe(&self) -> String {
        self.config.store.describe()
    }

    /// The name of the backend, as in `sessman.json`.
    pub(crate) fn backend(&self) -> &'static str {
        self.config.store.name()
    }
}

/// The host configuration of an INI file that contains nothing but a line for this JSON file.
fn host_of_json(path: &Path, instance: &str, environment: &Environment) -> Result<HostConfig, ConfigError> {
    let read = |source| ConfigError::Read { path: path.to_owned(), source };
    std::fs::metadata(path).map_err(read)?;
    let absolute = std::path::absolute(path).map_err(read)?;
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    let name = absolute.file_name().unwrap_or_default().to_string_lossy();
    // Percent-encoded, so that no character has a meaning in a line of the INI file.
    let name: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let plugin = if instance == PLUGIN { "" } else { "&plugin=sessman" };
    let text = format!("[plugin_parms]\n{instance}=json={name}{plugin}\n");
    HostConfig::parse(&path.display().to_string(), text, environment.variables(), folder)
}

/// The named instance, or the only one.
fn choose(host: &HostConfig, wanted: Option<&str>) -> Result<InstanceConfig, String> {
    let mut found: Vec<InstanceConfig> = Vec::new();
    let of_lines = host.instances.iter().any(|line| match &line.config {
        Ok(instance) => instance.plugin == PLUGIN,
        Err(_) => line.name == PLUGIN,
    });
    let without_line = host.instance_without_line(PLUGIN).filter(|_| !of_lines);
    for line in host.instances.iter().chain(&without_line) {
        match &line.config {
            Ok(instance) if instance.plugin == PLUGIN => found.push(instance.clone()),
            Ok(_) => {}
            Err(problems) => {
                // With a name, the instance is checked even if its plugin is another: that may be the error.
                if wanted.map_or(line.name == PLUGIN, |wanted| wanted.eq_ignore_ascii_case(&line.name)) {
                    let lines: Vec<String> =
                        problems.iter().map(|problem| format!("\n  {problem}")).collect();
                    return Err(format!("the instance {} cannot be used{}", line.name, lines.concat()));
                }
            }
        }
    }
    let names = || found.iter().map(|instance| instance.name.as_str()).collect::<Vec<_>>().join(", ");
    match (wanted, &found[..]) {
        (None, [only]) => Ok(only.clone()),
        (None, _) => {
            Err(format!("there are several instances of sessman; say --instance with one of {}", names()))
        }
        (Some(wanted), _) => {
            let one = found.iter().find(|instance| instance.name.eq_ignore_ascii_case(wanted));
            one.cloned()
                .ok_or_else(|| format!("there is no instance {wanted} of sessman; there are: {}", names()))
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn load(files: &[(&str, &str)], source: &str, instance: Option<&str>) -> Result<Site, String> {
        let folder = TempDir::new().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let environment = Environment::load(None).unwrap();
        Site::load(&Source::of(&folder.path().join(source)), instance, &environment)
            .map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn the_only_instance_is_found_and_several_want_a_name() {
        let one = [(
            "p.ini",
            "[network]\nport=7\n[plugin_parms]\ncarts=plugin=sessman&backend=memory\nhi=plugin=hello",
        )];
        let site = load(&one, "p.ini", None).unwrap();
        assert_eq!((site.instance.as_str(), site.backend()), ("carts", "memory"));
        assert_eq!(site.url.as_deref(), Ok("http://127.0.0.1:7/carts"));

        let two = [(
            "p.ini",
            "[plugin_parms]\nsessman=admin_key=key-of-sessman\ncarts=plugin=sessman&route_path=/a/b&admin_key=list:key-of-carts next-of-carts",
        )];
        let several = load(&two, "p.ini", None).err().unwrap();
        assert!(several.contains("--instance with one of sessman, carts"), "{several}");
        let site = load(&two, "p.ini", Some("CARTS")).unwrap();
        assert!(site.describe().starts_with("SQLite, ") && site.describe().ends_with("/state/carts.db"));
        assert_eq!(site.admin_key.unwrap().expose(), "key-of-carts");
        assert_eq!(site.url.as_deref(), Ok("http://127.0.0.1:6123/a/b"));
        let none = load(&two, "p.ini", Some("cats")).err().unwrap();
        assert!(none.contains("no instance cats of sessman; there are: sessman, carts"), "{none}");
    }

    #[test]
    fn without_a_line_there_is_the_instance_that_pserve_makes() {
        let site = load(&[("p.ini", "[network]\nport=0")], "p.ini", None).unwrap();
        assert_eq!((site.instance.as_str(), site.backend()), ("sessman", "sqlite"));
        assert!(site.url.unwrap_err().contains("--url http://127.0.0.1:PORT/sessman"));
    }

    #[test]
    fn a_json_file_alone_is_enough() {
        let files = [(
            "a $file.json",
            "{ \"admin_key\": [\"the-first-key\", \"the-next-one\"], \"auth_type\": \"none\", }",
        )];
        let site = load(&files, "a $file.json", None).unwrap();
        assert_eq!((site.instance.as_str(), site.admin_key.unwrap().expose()), ("sessman", "the-first-key"));
        let site = load(&files, "a $file.json", Some("carts")).unwrap();
        assert!(site.describe().ends_with("/state/carts.db"));
    }

    #[test]
    fn an_empty_admin_key_is_none() {
        let files = [("s.json", "{ \"admin_key\": \"${ENV:NO_SUCH_ADMIN_KEY:-}\" }")];
        assert!(load(&files, "s.json", None).unwrap().admin_key.is_none());
    }

    #[test]
    fn what_is_wrong_is_said_without_secrets() {
        let wrong = load(&[("s.json", "{ \"sesion_ttl\": 5, \"password\": \"hidden\" }")], "s.json", None);
        let wrong = wrong.err().unwrap();
        assert!(wrong.contains("did you mean `session_ttl`?") && !wrong.contains("hidden"), "{wrong}");
        assert!(load(&[], "p.ini", None).err().unwrap().contains("-i FILE"));
        assert!(load(&[], "s.json", None).err().unwrap().contains("--json-file FILE"));
        let broken = load(&[("p.ini", "[plugin_parms]\nsessman=json=nowhere.json")], "p.ini", None);
        assert!(broken.err().unwrap().contains("nowhere.json"));
    }
}
