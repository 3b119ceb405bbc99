//! A host without files and sockets, for the fuzz targets.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};

use super::admission::{Admission, Decision};
use super::coalesced::Outboxes;
use super::connection::{Connection, Settings};
use super::deadline::Deadlines;
use crate::budget::{Budget, Size};
use crate::config::Config;
use crate::http::control::snapshot::Snapshot;
use crate::http::exchange::app::App;
use crate::plugin::{Instance, Library, Loaded};

/// The peer address of connections.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Serves one instance of a plugin that is linked into this program.
pub struct Host {
    app: Arc<App>,
    admission: Arc<Admission>,
    settings: Settings,
    stop: watch::Sender<()>,
}

/// Resources that connections and their requests hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Bytes of the budget.
    pub bytes: usize,
    /// Requests that are being answered.
    pub requests: usize,
    /// Whether a connection holds a place.
    pub places: bool,
}

impl Host {
    /// Serves `P` with the configuration of this INI text.
    ///
    /// # Panics
    /// If the text or the plugin is rejected.
    pub async fn start<P: plugin_api::Plugin>(ini: &str) -> Self {
        let config =
            Config::parse("the text", ini.to_owned(), Vec::new(), Path::new("/")).expect("it is valid");
        let without_line = config.instance_without_line(P::NAME);
        let line = config.instances.iter().chain(&without_line).find_map(|line| line.config.clone().ok());
        let line = line.expect("an instance");
        let Size { budget, connections } = Size::of(&config);
        let budget = Budget::new(budget);
        let library = Arc::new(Library::of_type::<P>());
        let instance = Instance::prepare(&library, &line, "/", &budget, &Arc::default())
            .expect("the plugin is prepared");
        instance.activate().await.expect("the plugin becomes active");
        let admission = Arc::new(Admission::default());
        admission.limit(connections, config.proxies.clone());
        let settings = Settings { deadlines: Deadlines::of(&config.limits), tls: None };
        let loaded = Loaded { instances: vec![Arc::new(instance)], ..Loaded::default() };
        let snapshot = Snapshot::new(Arc::new(config), loaded, Vec::new());
        let app = Arc::new(App::new(snapshot, mpsc::unbounded_channel().0, budget));
        Self { app, admission, settings, stop: watch::Sender::default() }
    }

    /// Serves a connection that uses HTTP/2, until it ends.
    ///
    /// # Errors
    /// Why it ended early.
    ///
    /// # Panics
    /// If there is no place for it.
    pub async fn http2<S>(&self, stream: S) -> Result<(), String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Decision::Admitted(seat) = self.admission.ask(Some(CLIENT)) else { panic!("there is no place") };
        let (app, settings, stopped) = (Arc::clone(&self.app), self.settings.clone(), self.stop.subscribe());
        Connection { app, outboxes: Outboxes::default(), address: Some(CLIENT), settings, seat, stopped }
            .http2(stream)
            .await
    }

    /// Ends connections after their current requests.
    pub fn stop(&self) {
        self.stop.send_replace(());
    }

    /// Resources that are held now.
    pub fn taken(&self) -> Taken {
        Taken {
            bytes: self.app.budget().taken(),
            requests: self.app.in_flight(),
            places: self.admission.empty().now_or_never().is_none(),
        }
    }
}
