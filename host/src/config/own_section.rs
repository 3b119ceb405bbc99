//! Sections that are none of the host's. They hold values that others refer to, as `${section:key}`, or the parameters of
//! the instance with their name.

use super::plugin_parms::InstanceLine;
use super::problem::Problem;
use super::raw::RawSection;
use super::sections::{SECTIONS, section_of};

/// A section that is neither one of the host's nor that of an instance with a line in `[plugin_parms]`.
#[derive(Debug)]
pub struct OwnSection {
    /// The name in lower case.
    pub name: String,
    /// `file:line` of its header.
    pub place: String,
    /// Whether a value elsewhere refers to it.
    pub is_referred: bool,
    /// Why it must be the section of a plugin: it has a key of one of the host's own sections in it. If there is no such
    /// plugin, its name may be a slip, and what it holds, an API key perhaps, would count for nothing.
    pub must_be_plugin: Option<Problem>,
    /// The instance that it describes, if there is a plugin with its name.
    pub instance: InstanceLine,
}

impl OwnSection {
    /// The warning that it has no effect.
    pub(crate) fn unused(&self) -> Problem {
        let name = &self.name;
        Problem::at(
            &self.place,
            format!(
                "nothing refers to section [{name}] (as `${{{name}:key}}`), and no plugin is called so; it has no effect"
            ),
        )
    }
}

/// Checks whether a section can be one of the user's own.
///
/// # Errors
/// Its name is probably a slip, or has another meaning.
pub(super) fn check_name(section: &RawSection) -> Result<(), Problem> {
    let name = section.name.as_str();
    let why = match name {
        "default" => "a value belongs to one section; `${section:key}` uses it in another".to_owned(),
        "env" | "file" => format!("`${{{name}:...}}` does not read a section; give it another name"),
        _ => match settings::nearest(name, SECTIONS.iter().copied()) {
            Some(near) => {
                format!("did you mean [{near}]? A section of your own needs a name that is less like it")
            }
            None => return Ok(()),
        },
    };
    Err(Problem::at(&section.place, format!("unknown section [{name}]; {why}")))
}

/// The problem of a section with a key of the host's, if no plugin has its name.
pub(super) fn host_key(section: &RawSection) -> Option<Problem> {
    let (entry, of) = section.entries.iter().find_map(|entry| Some((entry, section_of(&entry.key)?)))?;
    let (name, key) = (&section.name, &entry.key);
    Some(Problem::at(
        &section.place,
        format!(
            "unknown section [{name}]; `{key}` in it is a key of [{of}], and no plugin is called `{name}`. Known are {}. A section \
             of your own needs names for its keys that the host does not have",
            SECTIONS.join(", ")
        ),
    ))
}
