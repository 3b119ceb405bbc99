//! Man pages and shell completions, generated from the definition of a command line. `sessctl` uses this, too.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::{Generator, Shell};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

/// Where they are written.
#[derive(Debug, Args)]
pub struct Generate {
    /// The folder to write into, laid out as /usr/local/share is; what is not there is made.
    pub folder: PathBuf,
}

/// Where each shell looks for completions, below a folder such as /usr/local/share.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions"),
    (Shell::Fish, "fish/vendor_completions.d"),
    (Shell::Zsh, "zsh/site-functions"),
];

/// Writes a man page for `command` and for each of its subcommands, and completions for three shells.
///
/// # Errors
/// A directory cannot be created or a file cannot be written; the error says which.
pub fn write(command: &Command, into: &Generate) -> io::Result<()> {
    let name = command.get_name();
    for (shell, folder) in SHELLS {
        // Bash looks for a file with the name of the program, while the generator adds an extension.
        let file = if shell == Shell::Bash { name.to_owned() } else { shell.file_name(name) };
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut command.clone(), name, &mut text);
        write_file(&into.folder.join(folder), &file, &text)?;
    }
    let source = format!("{name} {}", command.get_version().unwrap_or_default());
    // `help` needs no page: it only shows those of the other commands.
    let mut command = command.clone().disable_help_subcommand(true);
    command.build();
    write_pages(&command, &source, &into.folder.join("man/man1"))
}

fn write_pages(command: &Command, source: &str, folder: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    write_file(folder, &format!("{name}.1"), &page(command, name, source)?)?;
    let mut shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.try_for_each(|command| write_pages(command, source, folder))
}

/// Like [`Man::render`], with two differences: it omits an empty date, so that the version takes its position, and it
/// does not reflow the text after the options, which is mostly examples.
fn page(command: &Command, name: &str, source: &str) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let mut text = Vec::new();
    writeln!(text, ".TH \"{name}\" 1 \"\" \"{source}\"")?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.get_subcommands().any(|command| !command.is_hide_set()) {
        man.render_subcommands_section(&mut text)?;
    }
    if let Some(more) = command.get_after_long_help() {
        let mut roff = Roff::new();
        roff.control("SH", ["EXAMPLES"]).control("nf", []);
        roff.text([roman(more.to_string().trim_start_matches("Examples:\n"))]).control("fi", []);
        roff.to_writer(&mut text)?;
    }
    Ok(text)
}

fn write_file(folder: &Path, name: &str, text: &[u8]) -> io::Result<()> {
    let file = folder.join(name);
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(&file, text));
    written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
}
