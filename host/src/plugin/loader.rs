//! Prepares the configured instances from the plugin directory, and collects what failed and why.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::budget::Budget;
use crate::config::{Config, FILES, InstanceConfig};

use super::LoadError;
use super::calls::Dispatcher;
use super::copy::Copy;
use super::instance::{Instance, State};
use super::library::Library;
use super::loaded::{Failure, Loaded};
use super::probe::{Probe, TrialInstance};
use crate::trust;

/// Loads plugins, and keeps the opened libraries, which are never closed.
#[derive(Debug)]
pub(crate) struct Loader {
    /// By SHA-256: a file with the same content is not opened a second time.
    libraries: Mutex<HashMap<String, Arc<Library>>>,
    /// The budget for the memory of instances.
    budget: Arc<Budget>,
    /// Carries out the calls of instances.
    dispatcher: Arc<Dispatcher>,
}

/// What is to be loaded.
#[derive(Clone, Copy)]
pub(crate) enum Want<'a> {
    /// Everything. Of these instances, those that are serving and would be recreated unchanged are kept.
    All(&'a [Arc<Instance>]),
    /// A new instance of this name, and nothing else.
    One(&'a str),
}

impl Loader {
    /// A loader whose instances use `budget`.
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { libraries: Mutex::default(), budget, dispatcher: Arc::default() }
    }

    /// What carries out the calls of its instances.
    pub(crate) fn dispatcher(&self) -> &Arc<Dispatcher> {
        &self.dispatcher
    }

    /// Loads the `*.so` files of the plugin directory, in the order of their names, and prepares instances.
    ///
    /// # Errors
    /// The directory cannot be read, or others may write to it; or a section of the INI file may be misspelt. The failure
    /// of a single plugin or instance is added to `failures` instead.
    pub(crate) fn load(&self, config: &Config, want: Want<'_>) -> Result<Loaded, LoadError> {
        let folder = &config.paths.plugins;
        let unreadable = |source| LoadError::Directory { path: folder.clone(), source };
        trust::check_folder(folder).map_err(unreadable)?;
        let mut loaded = Loaded::default();
        let plan = Plan::new(config, want, &mut loaded.failures);
        for path in plugin_files(folder).map_err(unreadable)? {
            let file = file_name(&path);
            if let Err(error) = self.load_file(&path, &file, &plan, &mut loaded)
                && matches!(want, Want::All(_))
            {
                if error.is_of_no_plugin() {
                    tracing::warn!(file, reason = error.line(), "no plugin, and left alone");
                    loaded.others.push(Failure { name: file, mount: None, reason: error.line() });
                } else {
                    loaded.failures.push(Failure::of_file(&file, error.line()));
                }
            }
        }
        unknown_plugins(&plan, &mut loaded);
        if matches!(want, Want::All(_)) {
            loaded.unused = unused_sections(config, &loaded)?;
        }
        Ok(loaded)
    }

    fn load_file(
        &self,
        path: &Path,
        file: &str,
        plan: &Plan<'_>,
        loaded: &mut Loaded,
    ) -> Result<(), LoadError> {
        let copy = Copy::of(path).map_err(LoadError::Copy)?;
        plan.check_pinned(&copy.sha256)?;
        let known = self.opened(&copy.sha256);
        let (name, probe) = match &known {
            Some(library) => (library.name.clone(), None),
            None => {
                let probe = Probe::open(&copy)?;
                (probe.name.clone(), Some(probe))
            }
        };
        if let Some((other, _)) = loaded.files.iter().find(|(_, library)| library.name == name) {
            return Err(LoadError::Refused(format!("the plugin `{name}` is loaded from {other} already")));
        }
        let wanted = plan.instances_of(&name, &mut loaded.failures);
        if wanted.is_empty() {
            if matches!(plan.want, Want::One(_)) {
                return Ok(());
            }
            // Where there are no documents, there is nothing for it to do.
            if name != FILES {
                tracing::warn!(
                    plugin = name,
                    "no instance: the line of its name is broken or of another plugin"
                );
            }
        }
        let is_unused = wanted.is_empty();
        let mut fresh = Vec::new();
        for instance in wanted {
            if let Err(reason) = check_pin(&instance, &copy.sha256) {
                loaded.failures.push(Failure::of_instance(&instance.name, &instance.mount, reason));
            } else if let Some(kept) = plan.kept(&instance, &copy.sha256) {
                loaded.instances.push(kept);
            } else {
                fresh.push(instance);
            }
        }
        if fresh.is_empty() && known.is_none() && !is_unused {
            // Its lines pin another file: this file's code must not be loaded into this process.
            return Ok(());
        }
        let trial = fresh.iter().map(|instance| TrialInstance {
            name: instance.name.clone(),
            parameters: instance.parameters.json().to_owned(),
            state_folder: plan.state_folder.clone(),
        });
        let refusals = match probe {
            Some(probe) => probe.prepare(trial.collect())?,
            None if fresh.is_empty() => Default::default(),
            None => Probe::open(&copy)?.prepare(trial.collect())?,
        };
        let library = match known {
            Some(library) => library,
            None => self.open(copy, file)?,
        };
        for instance in fresh {
            let prepared = match refusals.get(&instance.name) {
                Some(reason) => Err(LoadError::Refused(reason.clone())),
                None => {
                    let Self { budget, dispatcher, .. } = self;
                    Instance::prepare(&library, &instance, &plan.state_folder, budget, dispatcher)
                }
            };
            match prepared {
                Ok(prepared) => loaded.instances.push(Arc::new(prepared)),
                Err(error) => {
                    let failure = Failure::of_instance(&instance.name, &instance.mount, error.line());
                    loaded.failures.push(failure);
                }
            }
        }
        loaded.files.push((file.to_owned(), library));
        Ok(())
    }

    fn opened(&self, sha256: &str) -> Option<Arc<Library>> {
        self.libraries.lock().unwrap_or_else(PoisonError::into_inner).get(sha256).cloned()
    }

    fn open(&self, copy: Copy, file: &str) -> Result<Arc<Library>, LoadError> {
        let library = Arc::new(Library::open(copy)?);
        tracing::info!(plugin = library.name, version = library.version, file, "plugin loaded");
        let mut libraries = self.libraries.lock().unwrap_or_else(PoisonError::into_inner);
        libraries.insert(library.sha256.clone(), Arc::clone(&library));
        Ok(library)
    }
}

/// Reports lines that name no plugin of the directory: a plugin that is not installed keeps nobody from serving the others.
/// But where the name is nearly that of a plugin which is there, that plugin would be without the parameters of the line.
fn unknown_plugins(plan: &Plan<'_>, loaded: &mut Loaded) {
    let known: Vec<String> = loaded.files.iter().map(|(_, library)| library.name.clone()).collect();
    // A file that could not be loaded may be the plugin that is looked for, and so may a broken link.
    let all_are_known =
        loaded.others.is_empty() && loaded.failures.iter().all(|failure| failure.mount.is_some());
    for instance in plan.lines.iter().filter(|instance| plan.wants(&instance.name)) {
        let is_told = loaded.failures.iter().any(|failure| failure.name == instance.name);
        if is_told || known.contains(&instance.plugin) {
            continue;
        }
        let near = settings::nearest(&instance.plugin, known.iter().map(String::as_str));
        let hint = match (plan.want, near) {
            (Want::One(_), _) => "`pserve check` says what is wrong with which file".to_owned(),
            (_, None) if instance.plugin == FILES => {
                "without it no documents are served; put it (libfiles.so) into the plugin directory"
                    .to_owned()
            }
            (_, Some(near)) => format!("did you mean `{near}`?"),
            (_, None) if known.is_empty() => "none is".to_owned(),
            (_, None) => format!("loaded are {}", known.join(", ")),
        };
        let reason = format!("{}: no plugin called `{}` is loaded; {hint}", instance.place, instance.plugin);
        let (name, mount) = (instance.name.clone(), Some(instance.mount.clone()));
        let failure = Failure { name, mount, reason };
        if matches!(plan.want, Want::All(_)) && near.is_none() && all_are_known {
            tracing::warn!(name = failure.name, reason = failure.reason, "not installed; the others serve");
            loaded.missing.push(failure);
        } else {
            loaded.failures.push(failure.logged());
        }
    }
}

/// Warns about sections that nothing refers to and that are no plugin's.
///
/// # Errors
/// One of them has a key of the host's in it: it is not known what its name was meant to be.
fn unused_sections(config: &Config, loaded: &Loaded) -> Result<Vec<String>, LoadError> {
    let is_plugin = |name: &str| loaded.files.iter().any(|(_, library)| library.name.to_lowercase() == name);
    let mut unused = Vec::new();
    for section in config.sections.iter().filter(|section| !is_plugin(&section.name)) {
        if let Some(problem) = &section.must_be_plugin {
            return Err(LoadError::Refused(problem.to_string()));
        }
        if !section.is_referred {
            let warning = section.unused().to_string();
            tracing::warn!("{warning}");
            unused.push(warning);
        }
    }
    Ok(unused)
}

/// Checks the file against the hash that the instance's line pins.
fn check_pin(instance: &InstanceConfig, sha256: &str) -> Result<(), String> {
    match &instance.sha256 {
        Some(pin) if pin != sha256 => Err(format!(
            "the plugin's file has sha256 {sha256}, but its line in [plugin_parms] asks for {pin}"
        )),
        _ => Ok(()),
    }
}

/// The configured instances.
struct Plan<'a> {
    want: Want<'a>,
    config: &'a Config,
    lines: Vec<&'a InstanceConfig>,
    /// The names of invalid lines.
    broken: Vec<&'a str>,
    state_folder: String,
}

impl<'a> Plan<'a> {
    fn new(config: &'a Config, want: Want<'a>, failures: &mut Vec<Failure>) -> Self {
        let state_folder = config.paths.state.display().to_string();
        let mut plan = Self { want, config, lines: Vec::new(), broken: Vec::new(), state_folder };
        for line in &config.instances {
            match &line.config {
                Ok(instance) => plan.lines.push(instance),
                Err(problems) => {
                    plan.broken.push(&line.name);
                    if plan.wants(&line.name) {
                        failures.push(Failure::of_parameters(&line.name, problems));
                    }
                }
            }
        }
        plan
    }

    fn wants(&self, instance: &str) -> bool {
        match self.want {
            Want::All(_) => true,
            Want::One(name) => name == instance,
        }
    }

    /// The instances of a plugin: those of its lines, or one with the plugin's own name if no line names it.
    fn instances_of(&self, plugin: &str, failures: &mut Vec<Failure>) -> Vec<InstanceConfig> {
        let named: Vec<InstanceConfig> =
            self.lines.iter().filter(|line| line.plugin == plugin).map(|line| (*line).clone()).collect();
        let all = if !named.is_empty() || self.broken.contains(&plugin) {
            named
        } else if self.lines.iter().any(|line| line.name == plugin) {
            // Another plugin's instance has this name, and names are unique.
            Vec::new()
        } else {
            let line = self.config.instance_without_line(plugin).filter(|line| self.wants(&line.name));
            let read = line.map(|line| line.config.map_err(|problems| (line.name, problems)));
            match read {
                Some(Ok(instance)) => vec![instance],
                Some(Err((name, problems))) => {
                    failures.push(Failure::of_parameters(&name, &problems));
                    Vec::new()
                }
                None => Vec::new(),
            }
        };
        all.into_iter().filter(|instance| self.wants(&instance.name)).collect()
    }

    /// The running instance, if a new one would not differ from it.
    fn kept(&self, instance: &InstanceConfig, sha256: &str) -> Option<Arc<Instance>> {
        let Want::All(running) = self.want else { return None };
        let same = |running: &&Arc<Instance>| {
            // A line that only moved is not a change.
            let place = running.config.place.clone();
            running.config == InstanceConfig { place, ..instance.clone() }
                && running.library.sha256 == sha256
                && running.state_folder == self.state_folder
                && running.state() == State::Ready
        };
        running.iter().find(same).cloned()
    }

    /// Opening a library runs its code, even if in a child process. If every line is pinned, a file with other content
    /// is not even tried.
    fn check_pinned(&self, sha256: &str) -> Result<(), LoadError> {
        let mut pins = self.lines.iter().map(|line| line.sha256.as_deref());
        let all_are_pinned =
            !self.lines.is_empty() && self.broken.is_empty() && pins.clone().all(|pin| pin.is_some());
        if all_are_pinned && !pins.any(|pin| pin == Some(sha256)) {
            return Err(LoadError::Refused(format!(
                "not opened: every line of [plugin_parms] has a `sha256`, and none is this file's, {sha256}"
            )));
        }
        Ok(())
    }
}

/// The files of the plugin directory that may be plugins, in the order of their names.
///
/// # Errors
/// The directory cannot be read.
pub(crate) fn plugin_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
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
        let plan = Plan::new(&config, Want::All(&[]), &mut failures);
        plan.instances_of(plugin, &mut Vec::new()).into_iter().map(|found| found.name).collect()
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
        let found = plugin_files(folder.path()).unwrap();
        let found: Vec<String> = found.iter().map(|path| file_name(path)).collect();
        assert_eq!(found, ["a.so", "b.so"]);
        assert!(plugin_files(&folder.path().join("none")).is_err());
    }
}
