//! `doctor`: diagnoses store and configuration.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};
use sessman::store::backend::Sharing;
use sessman::store::{self, Store, StoreError, View};
use sessman::time::{Clock as _, SystemClock};

use crate::actor;
use crate::failure::Said;
use crate::output::{Output, number, table};
use crate::pages::Reading;
use crate::progress::Progress;
use crate::site::Site;
use crate::unread;

/// Clock skew that is a fault. Servers delete a record a minute late, so that a fast clock expires nothing early; half of that
/// is too close.
const CLOCK_FAULT: Duration = Duration::from_secs(30);
/// Clock skew from which limits and times to live are noticeably wrong.
const CLOCK_HINT: Duration = Duration::from_secs(1);
/// Sessions on which the keys are tested.
const SAMPLE: usize = 100;
/// Fewer expired records than this are not reported.
const FEW: u64 = 1_000;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Good,
    /// It may be intended.
    Hint,
    Fault,
}

#[derive(Default)]
struct Findings(Vec<(Level, &'static str, String)>);

impl Findings {
    fn add(&mut self, level: Level, about: &'static str, text: impl Into<String>) {
        self.0.push((level, about, text.into()));
    }
}

pub(super) async fn run(site: &Site, output: Output) -> Result<()> {
    let mut findings = Findings::default();
    findings.add(Level::Good, "configuration", format!("{}: {}", site.instance, site.describe()));
    actor::in_a_process_of_its_own(site)?;
    let stored = store::open_to_read(&*site.config.store, None, View::Present)?;
    let outcome = match look(site, &*stored, &mut findings).await {
        Err(error) => Err(anyhow::Error::from(error)),
        Ok(()) => Ok(()),
    };
    hints(site, &mut findings);
    stored.close().await;
    if let Err(error) = &outcome {
        findings.add(Level::Fault, "store", format!("{error:#}"));
    }
    let is_good = findings.0.iter().all(|(level, ..)| *level != Level::Fault);
    let printed = print(&findings, is_good, output);
    match outcome {
        // Keeps the exit code for an unreachable store.
        Err(error) => Err(error),
        Ok(()) if is_good => printed,
        Ok(()) => Err(Said.into()),
    }
}

/// Checks the store.
async fn look(site: &Site, stored: &dyn Store, findings: &mut Findings) -> Result<(), StoreError> {
    let clock = SystemClock::start();
    // Connects first, so that the handshake does not distort the comparison of the clocks.
    stored.ping().await?;
    let begun = Instant::now();
    stored.ping().await?;
    findings.add(Level::Good, "connection", format!("there, {:.1} ms", begun.elapsed().as_secs_f64() * 1e3));

    let before = clock.now();
    let checkup = stored.checkup().await?;
    let took = clock.now().since(before);
    findings.add(Level::Good, "server", checkup.server);
    if let Some(theirs) = checkup.clock {
        // The server read its clock some time between request and reply.
        let middle = before.after(took / 2);
        let apart = theirs.since(middle).max(middle.since(theirs));
        let direction = if theirs > middle { "ahead of" } else { "behind" };
        let text = format!("the server's is {:.1} s {direction} this machine's", apart.as_secs_f64());
        match apart.saturating_sub(took) {
            far if far > CLOCK_FAULT => findings.add(
                Level::Fault,
                "clock",
                format!("{text}; servers may end sessions early: synchronise the clocks"),
            ),
            far if far >= CLOCK_HINT => {
                findings.add(Level::Hint, "clock", format!("{text}; synchronise the clocks"));
            }
            _ => findings.add(Level::Good, "clock", text),
        }
    }
    if checkup.problems.is_empty() && checkup.hints.is_empty() {
        findings.add(Level::Good, "settings", "nothing is wrong");
    }
    checkup.problems.into_iter().for_each(|text| findings.add(Level::Fault, "settings", text));
    checkup.hints.into_iter().for_each(|text| findings.add(Level::Hint, "settings", text));
    records(site, stored, &clock, findings).await
}

/// Checks the records.
async fn records(
    site: &Site,
    stored: &dyn Store,
    clock: &SystemClock,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let page = stored.records(None, SAMPLE, clock.now()).await?;
    let reading = Reading::Opened(site.config.encryption.as_ref());
    match page.items.iter().try_for_each(|record| reading.of(record).map(drop)) {
        Ok(()) => findings.add(Level::Good, "records", format!("{} of them were read", page.items.len())),
        Err(StoreError::Unusable(said)) => findings.add(Level::Fault, "records", said),
        Err(error) => return Err(error),
    }
    let mut progress = Progress::begin("looked at", None);
    let look =
        unread::look(stored, clock.now(), None, |seen| (0..seen).for_each(|_| progress.advance())).await?;
    progress.end();
    match look.unreadable.count() {
        0 => findings.add(Level::Good, "readable", "every session can be read"),
        unread => findings.add(
            Level::Fault,
            "readable",
            format!(
                "{} sessions cannot be read, and are missing from backups{}",
                number(unread),
                look.unreadable.describe()
            ),
        ),
    }
    let counts = stored.counts(clock.now(), &[]).await?;
    let text = format!("{} live, {} expired and still there", number(counts.active), number(counts.expired));
    match counts.expired > FEW && counts.expired > counts.active / 2 {
        true => findings.add(
            Level::Hint,
            "sessions",
            format!("{text}; `sessctl cleanup` removes them, and a shorter cleanup_interval does so sooner"),
        ),
        false => findings.add(Level::Good, "sessions", text),
    }
    Ok(())
}

/// Checks the configuration.
fn hints(site: &Site, findings: &mut Findings) {
    let config = &site.config;
    let mut hint = |text: &str| findings.add(Level::Hint, "configuration", text);
    if config.encryption.is_none() {
        hint(
            "there are no `encryption_keys`: whoever reads the store reads the data of sessions, and whoever writes to it \
             forges them",
        );
    }
    if config.rules.idle_timeout.is_none() && config.rules.absolute_ttl.is_none() {
        hint("neither `idle_timeout` nor `absolute_ttl` is set: a session that is used goes on for ever");
    }
    if config.access.admin_keys.is_none() {
        hint(match config.store.sharing() {
            Sharing::Owned => {
                "there is no `admin_key`: while pserve serves from the file, nobody can end sessions of others"
            }
            Sharing::Private | Sharing::Shared => {
                "there is no `admin_key`: the routes for administrators are closed"
            }
        });
    }
    config.store.hints().into_iter().for_each(hint);
}

fn print(findings: &Findings, is_good: bool, output: Output) -> Result<()> {
    let word = |level: Level| match level {
        Level::Good => "good",
        Level::Hint => "hint",
        Level::Fault => "FAULT",
    };
    let rows: Vec<Vec<String>> = findings
        .0
        .iter()
        .map(|(level, about, text)| vec![word(*level).to_owned(), (*about).to_owned(), text.clone()])
        .collect();
    let items: Vec<Value> = findings
        .0
        .iter()
        .map(|(level, about, text)| {
            json!({ "level": word(*level).to_lowercase(), "about": about, "text": text })
        })
        .collect();
    output.answer(table(&rows), &json!({ "good": is_good, "findings": items }))
}
