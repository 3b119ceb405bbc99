//! The folder that `cargo xtask run` serves from: configuration, plugins, and the state that pserve keeps beside them.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What is copied from `config/`; the first one is what pserve is started with.
const CONFIGURATION: [&str; 2] = ["pserve.ini", "sessman.json"];

/// A folder ready to be served from.
pub(crate) struct Layout {
    /// The INI file in it.
    pub(crate) ini: PathBuf,
    /// What a person should know: what was made, what was left alone.
    pub(crate) notes: Vec<String>,
    /// Whether nobody has edited the configuration.
    pub(crate) is_as_shipped: bool,
}

/// Lays out `into`, from the `config` folder of the project and the built `plugin_files`, with links to the files of other
/// projects, which are built again there; what a person or pserve put there stays.
pub(crate) fn lay_out(
    config: &Path,
    plugin_files: &[PathBuf],
    linked: &[PathBuf],
    into: &Path,
) -> Result<Layout> {
    let plugins = into.join("plugins");
    make_folder(into)?;
    make_folder(&plugins)?;

    let mut notes = Vec::new();
    let mut is_as_shipped = true;
    for name in CONFIGURATION {
        let (shipped, placed) = (config.join(name), into.join(name));
        notes.extend(place_configuration(&shipped, &placed)?);
        is_as_shipped &= fs::read(shipped)? == fs::read(placed)?;
    }
    let place = |file: &Path| {
        Ok::<_, anyhow::Error>(plugins.join(file.file_name().context("a plugin without a name")?))
    };
    for file in plugin_files {
        replace(file, &place(file)?)?;
    }
    for file in linked {
        link(file, &place(file)?)?;
    }
    Ok(Layout { ini: into.join(CONFIGURATION[0]), notes, is_as_shipped })
}

/// A folder that only its owner may write to, whatever the umask: whoever may write to the plugin folder, or may
/// exchange it, runs code in the host.
fn make_folder(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o755)))
        .with_context(|| format!("could not make the folder {}", path.display()))
}

/// Copies a configuration file unless there is one; returns what to say about it.
fn place_configuration(from: &Path, to: &Path) -> Result<Option<String>> {
    let shipped = fs::read(from).with_context(|| format!("could not read {}", from.display()))?;
    match fs::read(to) {
        Ok(present) if present == shipped => Ok(None),
        Ok(_) => Ok(Some(format!(
            "kept {}: it differs from {}; delete it to get that one",
            to.display(),
            from.display()
        ))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            replace(from, to)?;
            Ok(Some(format!("made {}: yours to edit", to.display())))
        }
        Err(error) => Err(error).with_context(|| format!("could not read {}", to.display())),
    }
}

/// Puts a copy of `from` at `to` in one step. Never written in place: a host of an earlier run may have the old file
/// open or mapped, and would read half of each.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let unfinished = unfinished(to);
    fs::copy(from, &unfinished)
        .and_then(|_| fs::set_permissions(&unfinished, Permissions::from_mode(0o644)))
        .and_then(|()| fs::rename(&unfinished, to))
        .with_context(|| format!("could not copy {} to {}", from.display(), to.display()))
}

/// Puts a link to `from` at `to`, in one step, too.
fn link(from: &Path, to: &Path) -> Result<()> {
    let unfinished = unfinished(to);
    // Left by a run that was cut off.
    let _ = fs::remove_file(&unfinished);
    symlink(from, &unfinished)
        .and_then(|()| fs::rename(&unfinished, to))
        .with_context(|| format!("could not make {} a link to {}", to.display(), from.display()))
}

fn unfinished(to: &Path) -> PathBuf {
    let mut unfinished = to.as_os_str().to_owned();
    unfinished.push(".new");
    unfinished.into()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::{Path, PathBuf};

    use tempfile::TempDir;

    use super::lay_out;

    const PLUGIN: &str = "libplugin.so";

    struct Project {
        folder: TempDir,
    }

    impl Project {
        fn new() -> Self {
            let project = Self { folder: tempfile::tempdir().unwrap() };
            for folder in ["config", "built", "greeter/target/debug"] {
                fs::create_dir_all(project.path(folder)).unwrap();
            }
            project.write("config/pserve.ini", "shipped ini");
            project.write("config/sessman.json", "{}");
            project.write(&format!("built/{PLUGIN}"), "first build");
            project.write("greeter/target/debug/libgreeter.so", "of its own");
            project
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).unwrap();
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.path(name)).unwrap()
        }

        fn lay_out(&self) -> Vec<String> {
            let plugins = [self.path("built").join(PLUGIN)];
            let linked = [self.path("greeter/target/debug/libgreeter.so")];
            let layout = lay_out(&self.path("config"), &plugins, &linked, &self.path("target/run")).unwrap();
            let is_edited = layout.notes.iter().any(|note| note.starts_with("kept"));
            assert_eq!(layout.is_as_shipped, !is_edited);
            layout.notes
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_first_run_makes_everything_and_says_so() {
        let project = Project::new();
        let notes = project.lay_out();
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert_eq!(project.read("target/run/pserve.ini"), "shipped ini");
        assert_eq!(project.read("target/run/sessman.json"), "{}");
        assert_eq!(project.read(&format!("target/run/plugins/{PLUGIN}")), "first build");
    }

    #[test]
    fn a_second_run_keeps_edited_configuration_and_state_and_brings_the_new_plugin() {
        let project = Project::new();
        project.lay_out();
        project.write("target/run/sessman.json", r#"{"session_ttl": 60}"#);
        fs::create_dir(project.path("target/run/state")).unwrap();
        project.write("target/run/state/sessman.db", "sessions");
        project.write(&format!("built/{PLUGIN}"), "second build");

        let notes = project.lay_out();
        assert!(
            notes.len() == 1 && notes[0].contains("sessman.json") && notes[0].starts_with("kept"),
            "{notes:?}"
        );
        assert_eq!(project.read("target/run/sessman.json"), r#"{"session_ttl": 60}"#);
        assert_eq!(project.read("target/run/state/sessman.db"), "sessions");
        assert_eq!(project.read(&format!("target/run/plugins/{PLUGIN}")), "second build");
    }

    #[test]
    fn a_plugin_is_replaced_by_a_new_file_and_never_written_in_place() {
        let project = Project::new();
        project.lay_out();
        let installed = project.path("target/run/plugins").join(PLUGIN);
        let before = fs::metadata(&installed).unwrap().ino();
        let open = fs::File::open(&installed).unwrap();
        project.write(&format!("built/{PLUGIN}"), "second build");
        project.lay_out();
        assert_ne!(fs::metadata(&installed).unwrap().ino(), before);
        assert_eq!(std::io::read_to_string(open).unwrap(), "first build");
        assert_eq!(
            fs::read_dir(installed.parent().unwrap()).unwrap().count(),
            2,
            "a half-made copy was left"
        );
    }

    #[test]
    fn the_plugin_of_another_project_is_the_one_that_is_built_there() {
        let project = Project::new();
        for build in ["first build", "second build"] {
            project.lay_out();
            project.write("greeter/target/debug/libgreeter.so", build);
            assert_eq!(project.read("target/run/plugins/libgreeter.so"), build);
        }
    }

    #[test]
    fn nobody_else_may_write_to_the_plugins() {
        let project = Project::new();
        fs::create_dir_all(project.path("target/run/plugins")).unwrap();
        fs::set_permissions(project.path("target/run/plugins"), fs::Permissions::from_mode(0o777)).unwrap();
        project.lay_out();
        assert_eq!(mode(&project.path("target/run")), 0o755);
        assert_eq!(mode(&project.path("target/run/plugins")), 0o755);
        assert_eq!(mode(&project.path("target/run/plugins").join(PLUGIN)), 0o644);
    }
}
