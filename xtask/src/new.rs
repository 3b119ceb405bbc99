//! `cargo xtask new`: a plugin of one's own, from the template.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::Workspace;

/// `cargo xtask new FOLDER`
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A folder that there is not yet; its name becomes the plugin's.
    folder: PathBuf,

    /// What the plugin does, in a line.
    #[arg(long, default_value = "A plugin for pserve")]
    description: String,
}

/// For cargo-generate alone.
const NOT_COPIED: &str = "cargo-generate.toml";

/// Fills in the template. The placeholders are those of cargo-generate, which can fill it in as well.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let folder = std::path::absolute(&options.folder)?;
    let name = folder.file_name().and_then(|name| name.to_str()).context("the folder has no name")?;
    let values = [
        ("project-name", name.to_owned()),
        ("crate_name", name.replace('-', "_")),
        ("description", options.description.clone()),
        ("authors", author()),
        ("sessman", path_text(&workspace.root)?),
    ];
    ensure!(
        is_name(name),
        "`{name}` is no name for a plugin: small letters, digits and hyphens, a letter first"
    );
    for (placeholder, value) in &values {
        let is_plain = !value.contains(|c: char| c.is_control() || "\"\\{}".contains(c));
        ensure!(is_plain, "{placeholder} must be without quotes, backslashes and braces: {value}");
    }
    // Nothing that is there is written over.
    fs::create_dir(&folder).with_context(|| format!("could not make {}", folder.display()))?;
    fill_in(&workspace.root.join("templates/plugin"), &folder, &values)?;
    // The same dependencies as the host's: those that it was tested with, and that are on this machine already.
    fs::copy(workspace.root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    let name = options.folder.display();
    println!("made {}; run it: cargo xtask run --plugin {name} -- dev", folder.display());
    Ok(ExitCode::SUCCESS)
}

fn fill_in(template: &Path, folder: &Path, values: &[(&str, String)]) -> Result<()> {
    for entry in fs::read_dir(template).with_context(|| format!("could not read {}", template.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), folder.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            fs::create_dir(&to)?;
            fill_in(&from, &to, values)?;
        } else if entry.file_name() != NOT_COPIED {
            let text = fs::read_to_string(&from)?;
            fs::write(&to, filled(&text, values).with_context(|| format!("in {}", from.display()))?)?;
        }
    }
    Ok(())
}

/// Fills in `{{name}}` for each name.
pub(crate) fn filled(text: &str, values: &[(&str, String)]) -> Result<String> {
    let mut text = text.to_owned();
    for (placeholder, value) in values {
        text = text.replace(&format!("{{{{{placeholder}}}}}"), value);
    }
    if let Some(at) = text.find("{{") {
        bail!("no value for {}", text[at..].lines().next().unwrap_or_default());
    }
    Ok(text)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Who commits here; nobody, if git does not know.
fn author() -> String {
    let said = Command::new("git").args(["config", "--get", "user.name"]).output();
    said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

fn path_text(path: &Path) -> Result<String> {
    Ok(path.to_str().with_context(|| format!("{} is not text", path.display()))?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{filled, is_name};

    #[test]
    fn every_placeholder_gets_its_value_or_is_named() {
        let values = [("name", "greeter".to_owned()), ("other", String::new())];
        assert_eq!(filled("a {{name}} of {{name}}{{other}}\n", &values).unwrap(), "a greeter of greeter\n");
        let error = filled("a {{nam}}\n", &values).unwrap_err().to_string();
        assert!(error.contains("{{nam}}"), "{error}");
    }

    #[test]
    fn a_name_is_one_that_cargo_and_a_url_take() {
        assert!(["greeter", "my-plugin2"].into_iter().all(is_name));
        assert!(!["", "-a", "2a", "A", "a b", "a/b", "\u{fc}"].into_iter().any(is_name));
    }
}
