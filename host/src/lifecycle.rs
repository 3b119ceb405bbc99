//! Changes the loaded instances without downtime: reload, load, unload.
//!
//! Everything that can fail is done while the old instances serve: files are read, plugins are tried in a child
//! process, new instances are prepared. Then new requests wait, requests in flight complete, the old instances release
//! their exclusive resources, the new ones acquire them, and the waiting requests go to the new instances. Any failure
//! on the way rolls back to the old instances.

mod changes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use self::changes::{check_nothing_is_lost, is_absent, restart_notes, unknown};
use crate::config::{Config, Paths};
use crate::error::one_line;
use crate::exposure::{check_exposure, short_keys};
use crate::hand_over::{HandOver, LAST_MOMENT};
use crate::host::HostError;
use crate::http::control::orders::{Order, OrderError, Report, Task};
use crate::http::control::snapshot::{Snapshot, Unloaded};
use crate::http::exchange::app::App;
use crate::http::transport::server::Server;
use crate::log::Logging;
use crate::notify::Notifier;
use crate::plugin::{Failure, Instance, Loaded, Loader, State, Want, callers_first, may_call};

/// Interval of retries to activate an instance that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Carries orders out, one at a time.
pub(crate) struct Lifecycle {
    pub(crate) app: Arc<App>,
    pub(crate) server: Arc<Server>,
    pub(crate) loader: Arc<Loader>,
    /// The source of the configuration.
    pub(crate) ini_file: PathBuf,
    pub(crate) logging: Logging,
    pub(crate) notifier: Arc<Notifier>,
    /// The deadline for stopping all instances. Separate from the orders, so that a stop does not wait behind them.
    pub(crate) stop: watch::Receiver<Option<Instant>>,
}

/// Loads the plugins and prepares their instances.
pub(crate) fn load(loader: &Loader, config: Config) -> Result<Snapshot, HostError> {
    warn_of(&config);
    let loaded = loader.load(&config, Want::All(&[])).map_err(HostError::Plugins)?;
    let snapshot = Snapshot::new(Arc::new(config), loaded, Vec::new());
    check_exposure(&snapshot)?;
    warn_of_keys(&snapshot);
    Ok(snapshot)
}

fn warn_of(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    for note in &config.notes {
        tracing::info!("{note}");
    }
}

fn warn_of_keys(snapshot: &Snapshot) {
    for short in short_keys(snapshot) {
        tracing::warn!("{short}");
    }
}

impl Lifecycle {
    /// Activates the prepared instances. Those that fail are retried later.
    pub(crate) async fn activate(&self) {
        let snapshot = self.app.snapshot();
        let instances: Vec<&Arc<Instance>> = snapshot.instances().collect();
        for instance in callers_first(&instances, &[]).into_iter().rev().flatten() {
            if let Err(error) = instance.activate().await {
                tracing::error!(
                    instance = instance.name,
                    reason = error.line(),
                    "not active; it is tried again"
                );
            }
        }
    }

    /// Carries orders out until the host stops.
    pub(crate) async fn run(self, mut orders: UnboundedReceiver<Order>) {
        let mut retry = interval(RETRY_INTERVAL);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let deadline = loop {
            let order = tokio::select! {
                biased;
                deadline = self.told_to_stop() => break deadline,
                order = orders.recv() => order,
                _ = retry.tick() => tokio::select! {
                    biased;
                    deadline = self.told_to_stop() => break deadline,
                    () = self.retry() => continue,
                },
            };
            let Some(Order { task, reply }) = order else { return };
            let described = format!("{task:?}");
            let done = match task {
                Task::ReloadAll => {
                    self.notifier.reloading();
                    let done = self.reload_all().await.inspect_err(|_| self.reopen_log());
                    self.notifier.ready();
                    done
                }
                Task::Reload(name) => self.reload(&name).await,
                Task::Load(name) => self.load(&name).await,
                Task::Unload(name) => self.unload(&name).await,
            };
            self.app.metrics().reload(done.is_ok());
            match &done {
                Ok(report) => tracing::info!(task = described, "{report}"),
                Err(refusal) => tracing::error!(task = described, reason = %refusal, "refused"),
            }
            if let Some(reply) = reply {
                // The requester may have disconnected.
                let _ = reply.send(done);
            }
        };
        self.stop_all(deadline).await;
    }

    /// Waits until the host stops; returns the deadline.
    async fn told_to_stop(&self) -> Instant {
        let mut stop = self.stop.clone();
        let told = stop.wait_for(Option::is_some).await;
        told.ok().and_then(|deadline| *deadline).unwrap_or_else(Instant::now)
    }

    /// Retries failed activations: the cause may be gone, such as a full disk or a lock.
    async fn retry(&self) {
        for instance in self.app.snapshot().instances() {
            if instance.state() != State::Failed {
                continue;
            }
            let before = instance.failure();
            match instance.activate().await {
                Ok(()) => tracing::info!(instance = instance.name, "active now"),
                Err(error) if instance.failure() != before => {
                    tracing::error!(instance = instance.name, reason = error.line(), "still not active");
                }
                Err(_) => {}
            }
        }
    }

    /// Stops all instances concurrently: one that hangs does not delay the others. An instance waits for its callers, but
    /// for no more than half of the time.
    async fn stop_all(&self, deadline: Instant) {
        let now = Instant::now();
        let deadline = deadline.max(now + LAST_MOMENT);
        let patience = now + (deadline - now) / 2;
        let snapshot = self.app.snapshot();
        let instances: Vec<&Arc<Instance>> = snapshot.instances().collect();
        let has_stopped: Vec<watch::Sender<bool>> =
            instances.iter().map(|_| watch::Sender::new(false)).collect();
        let stopped = instances.iter().zip(&has_stopped).map(async |(instance, done)| {
            let callers = instances.iter().zip(&has_stopped).filter(|(other, _)| may_call(other, instance));
            let gone = callers.map(async |(_, caller)| {
                // The sender lives as long as this runs.
                let _ = caller.subscribe().wait_for(|has_stopped| *has_stopped).await;
            });
            let _ = timeout_at(patience, join_all(gone)).await;
            if let Err(reason) = instance.stop(deadline, LAST_MOMENT).await {
                tracing::warn!(instance = instance.name, reason, "did not stop in order");
            }
            done.send_replace(true);
        });
        join_all(stopped).await;
    }

    async fn reload_all(&self) -> Result<Report, OrderError> {
        let old = self.app.snapshot();
        let config = self.read_config().await?;
        let notes = restart_notes(&old.config, &config);
        let logging =
            self.logging.prepare(&config.log).map_err(|error| OrderError::Invalid(one_line(&error)))?;
        let running: Vec<Arc<Instance>> = old.instances().cloned().collect();
        let (config, loaded) = self.prepare(config, Wanted::All(running)).await?;
        let new = Snapshot::new(Arc::new(config), loaded, Vec::new());
        let report = self.change(&old, new).await?;
        logging.apply();
        Ok(Report { notes, ..report })
    }

    /// Reopens the log file. It does not read the configuration: log rotation must not depend on a file that somebody
    /// may be editing.
    fn reopen_log(&self) {
        match self.logging.prepare(&self.app.snapshot().config.log) {
            Ok(logging) => logging.apply(),
            Err(error) => {
                tracing::warn!(reason = one_line(&error), "the log goes on in the file that is open")
            }
        }
    }

    async fn reload(&self, name: &str) -> Result<Report, OrderError> {
        let old = self.app.snapshot();
        if old.mount(name).is_none() {
            return Err(match is_absent(&old, name) {
                true => OrderError::State(format!("`{name}` is not loaded; POST /load/{name}")),
                false => unknown(&old, name),
            });
        }
        self.replace(&old, name).await
    }

    async fn load(&self, name: &str) -> Result<Report, OrderError> {
        let old = self.app.snapshot();
        if old.mount(name).is_some() {
            return Err(OrderError::State(format!("`{name}` is loaded; POST /reload/{name}")));
        }
        self.replace(&old, name).await
    }

    /// Replaces the instance of this name with a new one; everything else stays as it is, the host's own settings
    /// included.
    async fn replace(&self, old: &Snapshot, name: &str) -> Result<Report, OrderError> {
        let mut config = self.read_config().await?;
        config.paths = old.config.paths.clone();
        let (_, loaded) = self.prepare(config, Wanted::One(name.to_owned())).await?;
        if loaded.instances.is_empty() {
            return Err(match loaded.failures.first() {
                Some(failure) => OrderError::Invalid(failure.reason.clone()),
                None => unknown(old, name),
            });
        }
        let others = |other: &str| other != name;
        let mut files = old.files.clone();
        for (file, library) in loaded.files {
            files.retain(|(other, _)| *other != file);
            files.push((file, library));
        }
        files.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut instances: Vec<_> = old.instances().cloned().collect();
        for new in loaded.instances {
            match instances.iter_mut().find(|instance| instance.name == name) {
                Some(place) => *place = new,
                None => instances.push(new),
            }
        }
        let failures = old.failures.iter().filter(|failure| others(&failure.name)).cloned().collect();
        let unloaded = old.unloaded.iter().filter(|unloaded| others(&unloaded.name)).cloned().collect();
        let new = Snapshot::new(
            Arc::clone(&old.config),
            Loaded {
                instances,
                failures,
                missing: old.missing.iter().filter(|missing| others(&missing.name)).cloned().collect(),
                unused: old.unused.clone(),
                others: old.others.clone(),
                files,
            },
            unloaded,
        );
        if new.mount(name).is_none() {
            let reason = new.failures.iter().find(|failure| failure.name == name);
            return Err(OrderError::Invalid(
                reason.map_or_else(String::new, |failure| failure.reason.clone()),
            ));
        }
        self.change(old, new).await
    }

    async fn unload(&self, name: &str) -> Result<Report, OrderError> {
        let old = self.app.snapshot();
        let Some(mount) = old.mount(name) else {
            return Err(match is_absent(&old, name) {
                true => OrderError::State(format!("`{name}` is not loaded")),
                false => unknown(&old, name),
            });
        };
        let mut unloaded = old.unloaded.clone();
        unloaded.push(Unloaded { name: name.to_owned(), mount: mount.instance.mount().to_owned() });
        let instances = old.instances().filter(|instance| instance.name != name).cloned().collect();
        let loaded = Loaded {
            instances,
            failures: old.failures.clone(),
            missing: old.missing.clone(),
            unused: old.unused.clone(),
            others: old.others.clone(),
            files: old.files.clone(),
        };
        let new = Snapshot::new(Arc::clone(&old.config), loaded, unloaded);
        self.change(&old, new).await
    }

    async fn read_config(&self) -> Result<Config, OrderError> {
        let path = self.ini_file.clone();
        let loading =
            self.blocking(move || Config::load(&path).map_err(|error| OrderError::Invalid(one_line(&error))));
        loading.await.inspect(warn_of)
    }

    async fn prepare(&self, config: Config, want: Wanted) -> Result<(Config, Loaded), OrderError> {
        let loader = Arc::clone(&self.loader);
        self.blocking(move || {
            let loaded = match &want {
                Wanted::All(running) => loader.load(&config, Want::All(running)),
                Wanted::One(name) => loader.load(&config, Want::One(name)),
            };
            let loaded = loaded.map_err(|error| OrderError::Invalid(error.line()))?;
            Ok((config, loaded))
        })
        .await
    }

    /// Waits for files and child processes on a separate thread, and stops waiting when the host stops.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, OrderError> + Send + 'static,
    ) -> Result<T, OrderError> {
        tokio::select! {
            biased;
            _ = self.told_to_stop() => Err(OrderError::State("the host is stopping".to_owned())),
            done = tokio::task::spawn_blocking(work) => {
                done.unwrap_or_else(|panic| Err(OrderError::State(format!("the host failed: {panic}"))))
            }
        }
    }

    /// Switches from `old` to `new`.
    async fn change(&self, old: &Snapshot, new: Snapshot) -> Result<Report, OrderError> {
        check_exposure(&new).map_err(|error| OrderError::Invalid(error.to_string()))?;
        warn_of_keys(&new);
        check_nothing_is_lost(old, &new)?;
        let prepared = self.server.prepare(&new.config).await;
        let prepared = prepared.map_err(|error| OrderError::Invalid(one_line(&error)))?;
        make_state_folder(&new.config.paths);
        let is_in = |snapshot: &Snapshot, instance: &Arc<Instance>| {
            snapshot.instances().any(|other| Arc::ptr_eq(other, instance))
        };
        let leaving: Vec<_> = old.instances().filter(|instance| !is_in(&new, instance)).cloned().collect();
        let coming: Vec<_> = new.instances().filter(|instance| !is_in(old, instance)).cloned().collect();
        let mut report = Report { failed: new.failures.clone(), ..Report::default() };
        for instance in new.instances() {
            let list = match (is_in(old, instance), old.mount(&instance.name)) {
                (true, _) => &mut report.kept,
                (false, Some(_)) => &mut report.reloaded,
                (false, None) => &mut report.loaded,
            };
            list.push(instance.name.clone());
        }
        let gone = leaving.iter().filter(|instance| new.mount(&instance.name).is_none());
        report.unloaded = gone.map(|instance| instance.name.clone()).collect();
        let new = self.app.announce(new);
        let (before, after): (Vec<_>, Vec<_>) = (old.instances().collect(), new.instances().collect());
        let hand_over = HandOver { leaving: &leaving, coming: &coming, before: &before, after: &after };
        if let Err(refusal) = hand_over.run(&old.config.limits).await {
            self.app.withdraw();
            return Err(refusal);
        }
        for instance in &coming {
            if let Some(before) = leaving.iter().find(|before| before.name == instance.name) {
                instance.requests.add(before.requests.get());
            }
            if let Some(reason) = instance.failure() {
                report.failed.push(Failure { name: instance.name.clone(), mount: None, reason });
            }
        }
        // In this order: requests that wait for an instance look it up again once it is retired.
        self.app.serve(new);
        self.server.commit(prepared);
        for instance in leaving {
            instance.retire();
            tokio::spawn(async move {
                if let Err(reason) = instance.shut_down(LAST_MOMENT).await {
                    tracing::warn!(instance = instance.name, reason, "did not shut down in order");
                }
            });
        }
        Ok(report)
    }
}

/// What to load, as an owned value for another thread.
enum Wanted {
    All(Vec<Arc<Instance>>),
    One(String),
}

/// Creates the state directory. A failure is not an error of the host: on a read-only disk a plugin without files
/// works all the same, and a plugin with files reports the problem itself.
pub(crate) fn make_state_folder(paths: &Paths) {
    if let Err(error) = std::fs::create_dir_all(&paths.state) {
        tracing::warn!(folder = %paths.state.display(), %error, "cannot make the state folder ([paths] state)");
    }
}
