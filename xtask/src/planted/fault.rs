//! A planted fault: the file that says what is taken away, and which tests have to fail without it.
//!
//! ```text
//! # What is taken away, in one line.
//! in sessman/src/id.rs
//! -    lines that are there, once
//! +    lines in their place
//! fails sessman a_test_of_that_package
//! fails e2e another_test
//! ```
//!
//! A test may be named with more of its path (`a_test::sqlite`) where the fault is not everywhere.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::Workspace;

const FOLDER: &str = "tests/planted";
const EXTENSION: &str = "fault";

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) name: String,
    /// What is taken away.
    pub(crate) what: String,
    edits: Vec<Edit>,
    pub(crate) tests: Vec<Test>,
}

/// Lines that take the place of others.
#[derive(Debug, Default, PartialEq, Eq)]
struct Edit {
    file: String,
    find: Vec<String>,
    put: Vec<String>,
}

/// A test that has to fail.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Test {
    pub(crate) package: String,
    /// Its name, or more of its path.
    pub(crate) name: String,
}

impl Test {
    /// Whether libtest's path of a test is this one, or one of several of this name: one for each store.
    pub(crate) fn is(&self, path: &str) -> bool {
        let (own, path): (Vec<&str>, Vec<&str>) =
            (self.name.split("::").collect(), path.split("::").collect());
        path.windows(own.len()).any(|part| part == own)
    }
}

impl Fault {
    fn parse(name: &str, text: &str) -> Result<Self> {
        let mut fault =
            Self { name: name.to_owned(), what: String::new(), edits: Vec::new(), tests: Vec::new() };
        for (number, line) in (1..).zip(text.lines()) {
            let edit = fault.edits.last_mut();
            let unexpected = || format!("{name}, line {number}: {line:?} is not expected here");
            if let Some(what) = line.strip_prefix("# ") {
                ensure!(fault.what.is_empty(), unexpected());
                fault.what = what.to_owned();
            } else if let Some(file) = line.strip_prefix("in ") {
                fault.edits.push(Edit { file: file.to_owned(), ..Edit::default() });
            } else if let Some(found) = line.strip_prefix('-') {
                edit.with_context(unexpected)?.find.push(found.to_owned());
            } else if let Some(put) = line.strip_prefix('+') {
                edit.with_context(unexpected)?.put.push(put.to_owned());
            } else if let Some((package, test)) =
                line.strip_prefix("fails ").and_then(|test| test.split_once(' '))
            {
                fault.tests.push(Test { package: package.to_owned(), name: test.to_owned() });
            } else {
                bail!(unexpected());
            }
        }
        ensure!(!fault.what.is_empty(), "{name} does not say what is taken away");
        ensure!(!fault.tests.is_empty(), "{name} names no test");
        ensure!(!fault.edits.is_empty(), "{name} changes nothing");
        for Edit { file, find, put } in &fault.edits {
            ensure!(!find.is_empty() && find != put, "{name} changes nothing in {file}");
        }
        Ok(fault)
    }

    /// Its files below `root`, as they are with it.
    ///
    /// # Errors
    /// What it takes away is not there, or more than once.
    fn planted(&self, root: &Path) -> Result<Vec<(String, String)>> {
        let mut files: Vec<(String, String)> = Vec::new();
        for Edit { file, find, put } in &self.edits {
            let at = match files.iter().position(|(name, _)| name == file) {
                Some(at) => at,
                None => {
                    let text = fs::read_to_string(root.join(file))
                        .with_context(|| format!("{}: no {file}", self.name))?;
                    files.push((file.clone(), text));
                    files.len() - 1
                }
            };
            let lines: Vec<&str> = files[at].1.split('\n').collect();
            let found = lines.windows(find.len()).enumerate().filter(|(_, part)| part == find);
            let found: Vec<usize> = found.map(|(at, _)| at).collect();
            let [begin] = found[..] else {
                bail!("{}: what is to be found in {file} is there {} times", self.name, found.len());
            };
            let before = lines[..begin].iter().copied();
            let behind = lines[begin + find.len()..].iter().copied();
            let lines: Vec<&str> = before.chain(put.iter().map(String::as_str)).chain(behind).collect();
            files[at].1 = lines.join("\n");
        }
        Ok(files)
    }

    /// Plants it in the copy of the workspace at `root`; the files that were changed, as they were.
    ///
    /// # Errors
    /// As those of [`planted`](Self::planted); the files cannot be written.
    pub(crate) fn plant(&self, root: &Path) -> Result<Vec<(String, String)>> {
        let planted = self.planted(root)?;
        let was = planted.iter().map(|(file, _)| Ok((file.clone(), fs::read_to_string(root.join(file))?)));
        let was = was.collect::<Result<_>>()?;
        for (file, text) in planted {
            fs::write(root.join(&file), text).with_context(|| format!("could not write {file}"))?;
        }
        Ok(was)
    }
}

/// All of them, in the order of their names.
///
/// # Errors
/// Each has to be written as this module says.
pub(crate) fn all(workspace: &Workspace) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for entry in fs::read_dir(workspace.root.join(FOLDER)).with_context(|| format!("no {FOLDER}"))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_fault = path.extension().is_some_and(|extension| extension == EXTENSION);
        ensure!(is_fault, "{} is no planted fault", path.display());
        faults.push(Fault::parse(&name, &fs::read_to_string(&path)?)?);
    }
    faults.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::shown;

    /// Tests that docs/security.md names and no fault is planted for, and why.
    const WITHOUT: &[(&str, &str)] = &[];

    #[test]
    fn what_each_fault_takes_away_is_there_once() {
        let workspace = Workspace::find().unwrap();
        for fault in all(&workspace).unwrap() {
            fault.planted(&workspace.root).unwrap();
        }
    }

    #[test]
    fn each_test_that_the_page_names_fails_with_some_fault() {
        let workspace = Workspace::find().unwrap();
        let faults = all(&workspace).unwrap();
        let named = shown::named(&workspace).unwrap();
        let is_named = |test: &Test| test.name.split("::").any(|part| named.iter().any(|name| name == part));
        for (fault, test) in faults.iter().flat_map(|fault| fault.tests.iter().map(move |test| (fault, test)))
        {
            assert!(is_named(test), "{}: docs/security.md does not name {}", fault.name, test.name);
        }
        let fails: BTreeSet<&str> =
            faults.iter().flat_map(|fault| &fault.tests).flat_map(|test| test.name.split("::")).collect();
        for name in &named {
            let is_without = WITHOUT.iter().any(|(without, reason)| without == name && !reason.is_empty());
            assert!(fails.contains(&**name) != is_without, "{name}: a planted fault, or a reason for none");
        }
        for (without, _) in WITHOUT {
            assert!(named.contains(*without), "docs/security.md does not name {without}");
        }
    }

    #[test]
    fn a_fault_takes_the_place_of_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "one\n  two\nthree\n  twofold\n").unwrap();
        let text = "# Two.\nin a\n-  two\n+  2\n+  2\nin a\n-three\nfails x a_test\nfails y b::c\n";
        let fault = Fault::parse("f", text).unwrap();
        let was = fault.plant(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("a")).unwrap(), "one\n  2\n  2\n  twofold\n");
        assert_eq!(was, [("a".to_owned(), "one\n  two\nthree\n  twofold\n".to_owned())]);
        assert!(fault.plant(folder.path()).unwrap_err().to_string().contains("0 times"));
        fs::write(folder.path().join("a"), "  two\n  two\nthree\n").unwrap();
        assert!(fault.plant(folder.path()).unwrap_err().to_string().contains("2 times"));
        let [one, other] = &fault.tests[..] else { panic!("{fault:?}") };
        assert!(one.is("m::a_test::sqlite") && one.is("a_test") && !one.is("a_test_more"));
        assert!(other.is("m::b::c") && !other.is("b::m::c"));
    }

    #[test]
    fn what_is_no_fault_is_refused() {
        for bad in
            ["in a\n-b\nfails x y\n", "# A\nin a\n-b\n", "# A\n-b\n", "# A\nin a\n-b\n+b\nfails x y\n", "x\n"]
        {
            assert!(Fault::parse("f", bad).is_err(), "{bad}");
        }
    }
}
