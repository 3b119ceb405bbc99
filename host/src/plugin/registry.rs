//! All plugins and instances of this process, with what failed and why.

use std::path::{Path, PathBuf};

use crate::config::{self, Config, InstanceConfig, Problem};
use crate::http::access::Access;

use super::LoadError;
use super::copy::Copy;
use super::instance::Instance;
use super::library::Library;
use super::probe::{Probe, TrialInstance};

/// All plugins and instances of this process.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    pub(crate) libraries: Vec<(PathBuf, Library)>,
    pub(crate) instances: Vec<Instance>,
    pub(crate) failures: Vec<Failure>,
}

/// A plugin file or an instance that does not serve.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// The file's or the instance's name.
    pub(crate) name: String,
    /// Where the instance would be mounted; none for a file.
    pub(crate) mount: Option<String>,
    /// Why, in one line.
    pub(crate) reason: String,
}

impl Failure {
    pub(crate) fn of_instance(name: &str, mount: &str, reason: String) -> Self {
        Self { name: name.to_owned(), mount: Some(mount.to_owned()), reason }
    }
}

impl Registry {
    /// Loads every `*.so` of the plugin directory, in the order of their names, and prepares the instances.
    ///
    /// # Errors
    /// The directory cannot be read. Whatever is wrong with one plugin or instance is in `failures` instead.
    pub(crate) fn load(config: &Config) -> Result<Self, LoadError> {
        let mut registry = Self::default();
        let plan = Plan::new(config, &mut registry.failures);
        for path in files(&config.paths.plugins)? {
            if let Err(error) = registry.load_file(&path, &plan) {
                registry.fail(Failure { name: file_name(&path), mount: None, reason: error.line() });
            }
        }
        registry.unknown_plugins(&plan);
        Ok(registry)
    }

    /// Notes and logs a failure.
    pub(crate) fn fail(&mut self, failure: Failure) {
        log_failure(&failure);
        self.failures.push(failure);
    }

    fn load_file(&mut self, path: &Path, plan: &Plan<'_>) -> Result<(), LoadError> {
        let copy = Copy::of(path).map_err(LoadError::Copy)?;
        let probe = Probe::open(&copy)?;
        if let Some((other, _)) = self.libraries.iter().find(|(_, library)| library.name == probe.name) {
            let name = &probe.name;
            return Err(LoadError::Refused(format!(
                "the plugin `{name}` is loaded from {} already",
                file_name(other)
            )));
        }
        let instances = plan.instances_of(&probe.name);
        let trial = instances.iter().map(|instance| TrialInstance {
            name: instance.name.clone(),
            parameters: instance.parameters.json().to_owned(),
            state_folder: plan.state_folder.clone(),
        });
        let refusals = probe.prepare(trial.collect())?;
        let library = Library::open(copy)?;
        if instances.is_empty() {
            tracing::warn!(
                plugin = library.name,
                "no instance: the line of its name is broken or of another plugin"
            );
        }
        for instance in instances {
            let prepared = match refusals.get(&instance.name) {
                Some(reason) => Err(LoadError::Refused(reason.clone())),
                None => {
                    let access = Access::new(&instance.auth, &plan.config.auth);
                    Instance::prepare(&library, &instance, access, &plan.state_folder)
                }
            };
            match prepared {
                Ok(prepared) => self.instances.push(prepared),
                Err(error) => self.fail(Failure::of_instance(&instance.name, &instance.mount, error.line())),
            }
        }
        tracing::info!(
            plugin = library.name,
            version = library.version,
            file = file_name(path),
            "plugin loaded"
        );
        self.libraries.push((path.to_owned(), library));
        Ok(())
    }

    /// Lines that name no plugin of the directory.
    fn unknown_plugins(&mut self, plan: &Plan<'_>) {
        let known: Vec<String> = self.libraries.iter().map(|(_, library)| library.name.clone()).collect();
        for instance in &plan.lines {
            if known.contains(&instance.plugin) {
                continue;
            }
            let hint = match config::nearest(&instance.plugin, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => "none is".to_owned(),
                None => format!("loaded are {}", known.join(", ")),
            };
            let reason =
                format!("{}: no plugin called `{}` is loaded; {hint}", instance.place, instance.plugin);
            self.fail(Failure::of_instance(&instance.name, &instance.mount, reason));
        }
    }
}

/// What the configuration wants.
struct Plan<'a> {
    config: &'a Config,
    lines: Vec<&'a InstanceConfig>,
    /// The names of lines that cannot be used.
    broken: Vec<&'a str>,
    state_folder: String,
}

impl<'a> Plan<'a> {
    fn new(config: &'a Config, failures: &mut Vec<Failure>) -> Self {
        let mut lines = Vec::new();
        let mut broken = Vec::new();
        for line in &config.instances {
            match &line.config {
                Ok(instance) => lines.push(instance),
                Err(problems) => {
                    broken.push(line.name.as_str());
                    let reason = problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ");
                    let failure = Failure::of_instance(&line.name, &format!("/{}", line.name), reason);
                    log_failure(&failure);
                    failures.push(failure);
                }
            }
        }
        Self { config, lines, broken, state_folder: config.paths.state.display().to_string() }
    }

    /// The instances of a plugin: those of its lines, or one of its own name if no line names it.
    fn instances_of(&self, plugin: &str) -> Vec<InstanceConfig> {
        let named: Vec<InstanceConfig> =
            self.lines.iter().filter(|line| line.plugin == plugin).map(|line| (*line).clone()).collect();
        if !named.is_empty() || self.broken.contains(&plugin) {
            return named;
        }
        if self.lines.iter().any(|line| line.name == plugin) {
            // The name is another plugin's instance; a second one of that name cannot be.
            return Vec::new();
        }
        vec![config::instance_without_line(plugin)]
    }
}

fn log_failure(failure: &Failure) {
    tracing::error!(name = failure.name, reason = failure.reason, "not loaded");
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let failed = |source| LoadError::Directory { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "so") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(parms: &str, plugin: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.ini");
        std::fs::write(&path, format!("[plugin_parms]\n{parms}\n")).unwrap();
        let config = Config::load_with(&path, Vec::new()).unwrap();
        let mut failures = Vec::new();
        Plan::new(&config, &mut failures).instances_of(plugin).into_iter().map(|found| found.name).collect()
    }

    #[test]
    fn a_plugin_without_a_line_has_an_instance_of_its_own_name() {
        assert_eq!(names("", "hello"), ["hello"]);
        assert_eq!(names("other=a=1", "hello"), ["hello"]);
    }

    #[test]
    fn lines_that_name_a_plugin_are_its_instances_and_nothing_else_is() {
        assert_eq!(names("hello=a=1", "hello"), ["hello"]);
        assert_eq!(names("one=plugin=hello\ntwo=plugin=Hello", "hello"), ["one", "two"]);
        assert_eq!(names("hello=\ntwo=plugin=hello", "hello"), ["hello", "two"]);
    }

    #[test]
    fn a_broken_line_is_not_replaced_by_an_open_instance() {
        assert_eq!(names("hello=json=missing.json", "hello"), Vec::<String>::new());
    }

    #[test]
    fn a_name_that_another_plugins_instance_has_is_not_taken_twice() {
        assert_eq!(names("hello=plugin=other", "hello"), Vec::<String>::new());
    }

    #[test]
    fn only_shared_objects_are_plugins_and_their_names_give_the_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.so", "a.so", "readme.txt", "c.so.bak"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found: Vec<String> = files(folder.path()).unwrap().iter().map(|path| file_name(path)).collect();
        assert_eq!(found, ["a.so", "b.so"]);
        assert!(matches!(files(&folder.path().join("none")), Err(LoadError::Directory { .. })));
    }
}
