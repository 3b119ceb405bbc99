//! The commands, a file each.

mod backup;
mod cleanup;
mod connect;
mod doctor;
mod end;
mod list;
mod migrate;
mod monitor;
mod ping;
mod restore;
mod show;
mod stats;
mod verify;

use anyhow::Result;
use clap::CommandFactory as _;
use pserve::generate;

use crate::cli::{self, Cli, Command, End};
use crate::environment::Environment;
use crate::output::Output;
use crate::site::{Site, Source};

/// Runs the command.
pub(crate) async fn run(cli: &Cli) -> Result<()> {
    let output = Output { json: cli.json };
    // `generate` needs no configuration, and for `verify` it is optional.
    let load = |source: &Source, instance: Option<&str>| {
        Site::load(source, instance, &Environment::load(cli.env_file.as_deref())?)
    };
    let site = || load(&cli.source(), cli.instance.as_deref());
    match &cli.command {
        Command::Stats { conditions, at } => {
            stats::run(&site()?, &conditions.filter(), at.url.as_deref(), output).await
        }
        Command::List(options) => list::run(&site()?, options, output).await,
        Command::Show { handle } => show::run(&site()?, cli::handle(handle)?, output).await,
        Command::End(options) if options.handles.is_empty() => end::matching(&site()?, options, output).await,
        Command::End(End { handles, at, .. }) => {
            let handles = handles.iter().map(|text| cli::handle(text)).collect::<Result<Vec<_>, _>>()?;
            end::sessions(&site()?, &handles, at.url.as_deref(), output).await
        }
        Command::EndUser { user, at, confirmation } => {
            end::user(&site()?, user, at.url.as_deref(), confirmation.yes, output).await
        }
        Command::Cleanup(at) => cleanup::run(&site()?, at.url.as_deref(), output).await,
        Command::Backup { file, keep: None } => backup::run(&site()?, file, output).await,
        Command::Backup { file: folder, keep: Some(keep) } => {
            backup::rotate(&site()?, folder, *keep, output).await
        }
        Command::Verify { file, unsigned } => {
            let source = cli.source_if_any().filter(|_| !unsigned);
            let site = source.map(|source| load(&source, cli.instance.as_deref())).transpose()?;
            verify::run(file, site.as_ref().and_then(|site| site.config.encryption.as_ref()), output)
        }
        Command::Restore(options) => restore::run(&site()?, options, output).await,
        Command::Migrate(options) => {
            let (site, other) = (site()?, load(&Source::of(&options.to), options.to_instance.as_deref())?);
            migrate::run(&site, &other, options, output).await
        }
        Command::Ping => ping::run(&site()?, output).await,
        Command::Connect { arguments } => connect::run(&site()?, arguments),
        Command::Monitor { interval, count } => monitor::run(&site()?, *interval, *count, output).await,
        Command::Doctor => doctor::run(&site()?, output).await,
        Command::Generate(into) => Ok(generate::write(&Cli::command(), into)?),
    }
}
