//! Who executes a command: this process on the store, or the running pserve.
//!
//! A server's store is shared, so this process works on it directly. A SQLite file has one owner: this process reads it, and
//! the owner makes the writes. Sessions in memory are only reachable through their process.

use std::sync::Arc;

use anyhow::Result;
use sessman::budget::Unlimited;
use sessman::sessions::Sessions;
use sessman::store::backend::Sharing;
use sessman::store::{self, Store, StoreError, View};
use sessman::time::{Clock, SystemClock};

use crate::failure::Usage;
use crate::server::Server;
use crate::site::Site;

/// Who executes a command.
pub(crate) enum Actor {
    /// This process.
    Engine(Engine),
    /// The running pserve.
    Server(Server),
}

/// The store, and the engine on it.
pub(crate) struct Engine {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) sessions: Arc<Sessions>,
}

impl Engine {
    fn new(site: &Site, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        let sessions = Arc::new(Sessions::new(Arc::clone(&store), clock, site.config.rules.clone()));
        Self { store, sessions }
    }
}

impl Actor {
    /// For reads: through the server if a URL is given, or if no other process can see the sessions.
    pub(crate) fn to_read(site: &Site, url: Option<&str>, view: View) -> Result<Self> {
        if url.is_some() || site.config.store.sharing() == Sharing::Private {
            return Ok(Self::Server(Server::new(site, url)?));
        }
        Ok(Self::Engine(Engine::new(site, reader(site, view)?, Arc::new(SystemClock::start()))))
    }

    /// For ending or deleting sessions: like [`to_read`](Self::to_read), and through the server if it owns the file.
    pub(crate) fn to_write(site: &Site, url: Option<&str>) -> Result<Self> {
        if url.is_some() || site.config.store.sharing() == Sharing::Private {
            return Ok(Self::Server(Server::new(site, url)?));
        }
        if site.config.store.sharing() == Sharing::Owned {
            // A missing file must not be created for this.
            reader(site, View::Present)?;
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        match store::open(&*site.config.store, &clock, site.config.encryption.as_ref(), &Unlimited::shared())
        {
            Ok(store) => Ok(Self::Engine(Engine::new(site, store, clock))),
            Err(StoreError::InUse(_)) => Ok(Self::Server(Server::new(site, None)?)),
            Err(error) => Err(error.into()),
        }
    }
}

/// The store, read-only.
///
/// # Errors
/// The store's; [`Usage`] for sessions in memory.
pub(crate) fn reader(site: &Site, view: View) -> Result<Arc<dyn Store>> {
    in_a_process_of_its_own(site)?;
    Ok(store::open_to_read(&*site.config.store, site.config.encryption.as_ref(), view)?)
}

/// Rejects sessions in memory.
pub(crate) fn in_a_process_of_its_own(site: &Site) -> Result<()> {
    match site.config.store.sharing() {
        Sharing::Private => Err(Usage(format!(
            "the sessions of {} are in the memory of pserve and end with it; no other process can do this with them",
            site.instance
        ))
        .into()),
        Sharing::Owned | Sharing::Shared => Ok(()),
    }
}
