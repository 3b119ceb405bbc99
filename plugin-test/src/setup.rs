//! How an instance is made.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use abi_stable::std_types::RString;
use plugin_api::abi::module::PluginModule_Ref;
use plugin_api::sdk::export;
use plugin_api::{Call, CallError, Level, Plugin, Response};
use serde_json::Value;

use crate::calls::{Answers, Calls};
use crate::host::{self, TestHost};
use crate::instance::{Folder, Instance};

/// How an instance is made, as a line of `[plugin_parms]` and the host's own settings say it.
#[derive(Debug)]
pub struct Setup {
    plugin: Module,
    name: String,
    mount: Option<String>,
    config: Value,
    state_folder: Option<PathBuf>,
    level: Level,
    memory: u64,
    is_handle_only: bool,
    answers: Option<Answers>,
}

/// What a plugin library exports.
struct Module(PluginModule_Ref);

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.0.name()(), self.0.version()())
    }
}

impl Setup {
    /// An instance of this plugin, with the plugin's name and an empty configuration, mounted below its name.
    pub fn of<P: Plugin>() -> Self {
        Self::of_module(export::root_module::<P>())
    }

    /// As [`of`](Self::of), for the module of a library that was opened.
    pub fn of_module(module: PluginModule_Ref) -> Self {
        Self {
            name: module.name()().as_str().to_lowercase(),
            plugin: Module(module),
            mount: None,
            config: Value::Object(serde_json::Map::new()),
            state_folder: None,
            level: Level::Trace,
            memory: u64::MAX,
            is_handle_only: false,
            answers: None,
        }
    }

    /// The name of the instance, which is also its mount unless [`mount`](Self::mount) says another.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// Where its routes are, such as `/api/greeter`; `/` for the root.
    #[must_use]
    pub fn mount(self, path: &str) -> Self {
        let path = path.trim_matches('/');
        let mount = if path.is_empty() { String::new() } else { format!("/{path}") };
        Self { mount: Some(mount), ..self }
    }

    /// The configuration, without the keys that belong to the host. Values from an INI file are texts; those from a JSON
    /// file have types.
    ///
    /// # Panics
    /// It is not a JSON object.
    #[must_use]
    pub fn config(self, config: Value) -> Self {
        assert!(config.is_object(), "a configuration is a JSON object, and not {config}");
        Self { config, ..self }
    }

    /// The folder for the instance's files, which is kept. Without it, there is one of its own, which is removed with
    /// the instance.
    #[must_use]
    pub fn state_folder(self, folder: impl AsRef<Path>) -> Self {
        Self { state_folder: Some(folder.as_ref().to_owned()), ..self }
    }

    /// The least severe level that is logged; every level without it.
    #[must_use]
    pub fn level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// The memory that `Host::budget` has for the instance, in bytes; without it, as much as is asked for.
    #[must_use]
    pub fn memory(self, bytes: u64) -> Self {
        Self { memory: bytes, ..self }
    }

    /// Never calls `handle_now`, as a host may that does not know it: `handle` must be able to answer everything.
    #[must_use]
    pub fn handle_only(self) -> Self {
        Self { is_handle_only: true, ..self }
    }

    /// What the instance's calls to others are answered, one after the other, those of `Host::calls` and of
    /// `Request::calls` alike. An error is that of the call; `Ok` is an answer with whatever status. Without it, every call is
    /// [`CallError::NotAllowed`]. If the closure panics, so does what the test has called meanwhile.
    ///
    /// A call of `Request::session` names no instance, but the session by its handle ([`Call::session`]).
    #[must_use]
    pub fn answer_calls(
        self,
        answers: impl FnMut(&Call) -> Result<Response, CallError> + Send + 'static,
    ) -> Self {
        Self { answers: Some(Answers(Box::new(answers))), ..self }
    }

    /// Makes the instance; nothing is activated. The state folder does not exist yet, as in `pserve check`.
    ///
    /// # Errors
    /// What the plugin said is wrong with its configuration, its panic, or what the host would refuse: no routes.
    ///
    /// # Panics
    /// The path of the state folder is not UTF-8, or no temporary folder can be made.
    pub fn prepare(self) -> Result<Instance, String> {
        let folder = Folder::new(self.state_folder);
        let mount = self.mount.unwrap_or_else(|| format!("/{}", self.name));
        let host = Arc::new(TestHost {
            calls: Calls::of(&self.name, self.answers),
            tasks: Arc::default(),
            instance: self.name,
            config: self.config.to_string(),
            state_folder: folder.path().to_str().expect("the path of a state folder is UTF-8").to_owned(),
            level: self.level,
            memory: self.memory,
            lines: Mutex::default(),
            drawn: AtomicU64::new(0),
        });
        let raw = self.plugin.0.prepare()(host::raw(&host)).into_result().map_err(RString::into_string)?;
        Instance::new(raw, host, folder, mount, self.is_handle_only)
    }

    /// Makes the instance and activates it.
    ///
    /// # Panics
    /// The plugin refused, with what it said; and as [`prepare`](Self::prepare).
    #[must_use]
    pub fn start(self) -> Instance {
        let instance = self.prepare().unwrap_or_else(|refused| panic!("not prepared: {refused}"));
        instance.activate().unwrap_or_else(|failure| panic!("not activated: {failure}"));
        instance
    }
}
