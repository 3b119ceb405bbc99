//! An open plugin library.

#![allow(unsafe_code, reason = "opening a library runs its initializers; nothing can check them")]

use std::mem::ManuallyDrop;
use std::path::Path;

use abi_stable::library::{LibraryError, ROOT_MODULE_LOADER_NAME_WITH_NUL, lib_header_from_path};
use libloading::os::unix::{Library as RawLibrary, RTLD_LOCAL, RTLD_NOW};
use plugin_api::abi::host::RawHostBox;
use plugin_api::abi::module::PluginModule_Ref;
use plugin_api::abi::plugin::RawPluginBox;
use plugin_api::guard::guard;

use super::LoadError;
use super::copy::Copy;

/// A plugin library, open until the process ends.
///
/// It is never closed: objects, threads and thread-local values of the plugin may outlive every instance.
pub(crate) struct Library {
    /// The plugin's name, in lower case, as compared with the configuration.
    pub(crate) name: String,
    /// The plugin's own version.
    pub(crate) version: String,
    /// The version of the ABI crate that it was built with.
    pub(crate) api_version: String,
    /// SHA-256 of the file.
    pub(crate) sha256: String,
    module: PluginModule_Ref,
}

impl Library {
    /// Opens a copy that was tried in a child process.
    pub(crate) fn open(copy: Copy) -> Result<Self, LoadError> {
        // The descriptor stays open even if this fails: the dynamic linker remembers the library by the descriptor's
        // path, and would take the next copy with the same number for this one.
        let copy = ManuallyDrop::new(copy);
        let Opened { module, name, version, api_version } = open(&copy.path())?;
        Ok(Self { name, version, api_version, sha256: copy.sha256.clone(), module })
    }

    /// A plugin that is linked into this program.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn of_type<P: plugin_api::Plugin>() -> Self {
        Self {
            name: P::NAME.to_owned(),
            version: P::VERSION.to_owned(),
            api_version: plugin_api_version().to_owned(),
            sha256: String::new(),
            module: plugin_api::sdk::export::root_module::<P>(),
        }
    }

    /// The version of the ABI crate in this host.
    pub(crate) fn host_api_version() -> &'static str {
        plugin_api_version()
    }

    /// Makes an instance.
    pub(crate) fn prepare(&self, services: RawHostBox) -> Result<RawPluginBox, LoadError> {
        prepare(self.module, services)
    }
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Library({} {})", self.name, self.version)
    }
}

/// An opened library, with its data about itself.
pub(crate) struct Opened {
    pub(crate) module: PluginModule_Ref,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) api_version: String,
}

/// Checks that the file is a library that exports a plugin. Called in a child process: opening a library runs its
/// code.
pub(crate) fn check_raw(path: &Path) -> Result<(), LoadError> {
    // SAFETY: the library's initializers run. A child process exists to run them first, and it is disposable.
    let library = unsafe { RawLibrary::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| {
        LoadError::Refused(format!("not a loadable library: {}", linker_message(&error, path)))
    })?;
    // SAFETY: only the presence of the symbol matters; the pointer is not used.
    let symbol = unsafe { library.get::<*const ()>(ROOT_MODULE_LOADER_NAME_WITH_NUL.as_bytes()) };
    let found = symbol.map(drop);
    // Closing would run the library's finalizers, which may be broken too.
    std::mem::forget(library);
    found.map_err(|_| LoadError::NoPlugin)
}

/// Opens a library that [`check_raw`] has accepted, and compares its types with the host's.
pub(crate) fn open(path: &Path) -> Result<Opened, LoadError> {
    let header = lib_header_from_path(path).map_err(|error| mismatch(&error, "unknown", path))?;
    let api_version = header.version_strings().version.to_string();
    let module = header
        .init_root_module::<PluginModule_Ref>()
        .map_err(|error| mismatch(&error, &api_version, path))?;
    let panicked =
        |panic| LoadError::Refused(format!("the plugin panicked when it was asked its name: {panic}"));
    let name = guard(|| module.name()().to_string().to_lowercase()).map_err(panicked)?;
    let version = guard(|| module.version()().to_string()).map_err(panicked)?;
    if name.is_empty() {
        return Err(LoadError::Refused("the plugin says no name".into()));
    }
    Ok(Opened { module, name, version, api_version })
}

/// Makes an instance.
pub(crate) fn prepare(module: PluginModule_Ref, services: RawHostBox) -> Result<RawPluginBox, LoadError> {
    match guard(|| module.prepare()(services).into_result()) {
        Ok(Ok(plugin)) => Ok(plugin),
        Ok(Err(message)) => Err(LoadError::Refused(message.into_string())),
        Err(panic) => Err(LoadError::Refused(panic.to_string())),
    }
}

/// abi_stable describes a mismatch in some hundred lines; the versions and the first difference are enough to act on.
fn mismatch(error: &LibraryError, api_version: &str, path: &Path) -> LoadError {
    let host = plugin_api_version();
    LoadError::Refused(match error {
        LibraryError::OpenError { err, .. } => {
            format!("not a loadable library: {}", linker_message(err, path))
        }
        LibraryError::GetSymbolError { .. } => return LoadError::NoPlugin,
        LibraryError::IncompatibleVersionNumber { .. } => {
            format!(
                "built with plugin-api {api_version}, this host has {host}: build it with plugin-api {host}"
            )
        }
        LibraryError::InvalidAbiHeader(_) => {
            "built with an abi_stable that does not fit this host's: build it with abi_stable 0.11".into()
        }
        LibraryError::RootModule { .. } => "the plugin's root module panicked or failed".into(),
        other => format!(
            "its types are not the host's (built with plugin-api {api_version}, this host has {host}); \
             first difference: {}",
            first_difference(&other.to_string())
        ),
    })
}

/// The version of the ABI crate in this host.
pub(crate) fn plugin_api_version() -> &'static str {
    <PluginModule_Ref as abi_stable::library::RootModule>::VERSION_STRINGS.version.as_str()
}

/// Extracts the first error from the long text: what differs, what was expected and found, and where.
fn first_difference(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let Some(start) = lines.iter().position(|line| line.starts_with("Error:")) else {
        return "no detail".to_owned();
    };
    let rest = &lines[start..];
    let after = |label: &str| {
        let at = rest.iter().position(|line| line.starts_with(label))?;
        let same_line = rest[at][label.len()..].trim();
        Some(if same_line.is_empty() { *rest.get(at + 1)? } else { same_line })
    };
    let mut difference = after("Error:").unwrap_or("no detail").to_owned();
    if let (Some(expected), Some(found)) = (after("Expected:"), after("Found:")) {
        difference.push_str(&format!("; expected {expected}, found {found}"));
    }
    // The path to it follows, from the outside in; numbers and `__returns` are not names from the source.
    let way: Vec<&str> = rest
        .iter()
        .take_while(|line| !line.starts_with("Layout of"))
        .filter_map(|line| line.strip_prefix("field_name:"))
        .filter(|name| name.starts_with(|c: char| c.is_alphabetic()))
        .collect();
    if !way.is_empty() {
        difference.push_str(&format!(", in `{}`", way.join(".")));
    }
    difference.chars().take(300).collect()
}

/// The dynamic linker's message without the path of the copy, which means nothing to people.
fn linker_message(error: &dyn std::error::Error, path: &Path) -> String {
    let detail = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    let shown = path.display().to_string();
    detail.replace(&format!("{shown}: "), "").replace(&shown, "the file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_of_a_long_report() {
        let report = "Compared <this>:\n  type:X\n\nError:too few fields\nExpected:\n   3\nFound:\n   2\n\n\
                      1 error(s)inside:\n <other>\n field_name:0\n field_name:version\nLayout of\nfield_name:x";
        let expected = "too few fields; expected 3, found 2, in `version`";
        assert_eq!(first_difference(report), expected);
        assert_eq!(first_difference("nothing that is known"), "no detail");
    }
}
