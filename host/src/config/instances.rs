//! Which instances the INI file describes: those of the lines in `[plugin_parms]`, with the sections of their names, and
//! those that other sections describe if there is a plugin of their name.

use super::documents::FILES;
use super::own_section::{OwnSection, host_key};
use super::plugin_parms::{Folders, InstanceLine, Meant, Written};
use super::problem::Problem;
use super::raw::{RawConfig, RawSection, Resolver};
use super::sections::{PLUGIN_PARMS, SECTIONS};

/// The instances of the lines, and that of the documents; and what is wrong with them in the INI file.
pub(super) fn of_lines(
    resolver: &Resolver<'_>,
    folders: &Folders<'_>,
    has_global_key: bool,
    documents: Option<&Meant>,
) -> (Vec<InstanceLine>, Vec<Problem>) {
    let entries = resolver.raw.section(PLUGIN_PARMS).map_or(&[][..], |section| &section.entries);
    let lines = entries.iter().map(|line| Written {
        name: &line.key,
        line: Some(line),
        section: own(resolver.raw, &line.key),
        meant: documents.filter(|_| line.key == FILES),
    });
    let mut written: Vec<Written<'_>> = lines.collect();
    if documents.is_some() && !written.iter().any(|written| written.name == FILES) {
        let section = own(resolver.raw, FILES);
        written.push(Written { name: FILES, line: None, section, meant: documents });
    }
    let (mut instances, mut problems) = (Vec::new(), Vec::new());
    for written in written {
        match written.read(resolver, folders, has_global_key) {
            Ok(line) => instances.push(line),
            Err(wrong) => problems.extend(wrong),
        }
    }
    (instances, problems)
}

/// The sections that are neither the host's nor those of `instances`.
pub(super) fn of_own_sections(
    resolver: &Resolver<'_>,
    folders: &Folders<'_>,
    has_global_key: bool,
    instances: &[InstanceLine],
) -> Vec<OwnSection> {
    let names = resolver.raw.sections.iter().map(|section| section.name.as_str());
    let sections = names.filter(|name| !instances.iter().any(|line| line.name == *name));
    let sections = sections.filter_map(|name| own(resolver.raw, name));
    let read = sections.map(|section| {
        let name = section.name.as_str();
        let written = Written { name, line: None, section: Some(section), meant: None };
        let instance = written.read(resolver, folders, has_global_key).unwrap_or_else(|problems| {
            InstanceLine { name: name.to_owned(), json_files: Vec::new(), config: Err(problems) }
        });
        (section, instance)
    });
    let read: Vec<_> = read.collect();
    // Only now: they may refer to each other.
    let referred = resolver.referred.borrow();
    let own = read.into_iter().map(|(section, instance)| OwnSection {
        name: section.name.clone(),
        place: section.place.clone(),
        is_referred: referred.contains(&section.name),
        must_be_plugin: host_key(section),
        instance,
    });
    own.collect()
}

/// The section of this name, unless it is one of the host's.
fn own<'a>(raw: &'a RawConfig, name: &str) -> Option<&'a RawSection> {
    raw.section(name).filter(|_| !SECTIONS.contains(&name))
}
