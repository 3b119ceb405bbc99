//! Serves the files of a folder: `GET` and `HEAD`, with entity tags, ranges and index files.
//!
//! `path` (from a request's path to names) -> `folder` (opens a file below the folder, and nothing else) -> `condition`
//! and `range` (what of it is asked for) -> `answer`, with a body that `body` reads piece by piece. Files are read by
//! threads of the plugin's own, never by the host's.

mod access_log;
mod answer;
mod body;
mod condition;
mod folder;
mod media_type;
mod path;
mod range;
mod settings;
mod threads;

use std::sync::{Arc, PoisonError, RwLock};

use plugin_api::{Class, Host, Plugin, Request, Response, Route, export_plugin};

use self::access_log::AccessLog;
use self::answer::{Asked, Site};
use self::folder::Folder;
use self::settings::Settings;
use self::threads::Threads;

const METHODS: &[&str] = &["GET", "HEAD"];

struct Files {
    host: Host,
    settings: Settings,
    threads: Threads,
    /// Present between `activate` and `deactivate`.
    site: RwLock<Option<Arc<Site>>>,
}

impl Files {
    fn site(&self) -> Option<Arc<Site>> {
        self.site.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_site(&self, site: Option<Arc<Site>>) {
        *self.site.write().unwrap_or_else(PoisonError::into_inner) = site;
    }
}

impl Plugin for Files {
    const NAME: &'static str = "files";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    fn prepare(host: Host) -> Result<Self, String> {
        let settings = Settings::read(host.config(), host.state_folder())?;
        let threads = Threads::new().map_err(|error| format!("cannot make threads: {error}"))?;
        Ok(Self { host, settings, threads, site: RwLock::new(None) })
    }

    fn routes(&self) -> Vec<Route> {
        // Whoever passes the host's check of the instance's key, if it has one, may read every file.
        vec![Route::new("", METHODS, Class::Service), Route::new("*", METHODS, Class::Service)]
    }

    async fn activate(&self) -> Result<(), String> {
        let path = self.settings.documents.clone();
        let opened = self.threads.run(move || Folder::open(&path)).await;
        let folder = opened.unwrap_or_else(|| Err("the plugin is being stopped".to_owned()))?;
        self.set_site(Some(Arc::new(Site {
            folder,
            index: self.settings.indexfile.clone(),
            log: self.settings.common_log.clone().map(|path| AccessLog::new(path, self.host.clone())),
            threads: self.threads.handle(),
            host: self.host.clone(),
        })));
        Ok(())
    }

    async fn deactivate(&self) -> Result<(), String> {
        // Answers that are being sent have their files open, and may be completed.
        self.set_site(None);
        Ok(())
    }

    async fn handle(&self, request: Request<'_>) -> Response {
        let Some(site) = self.site() else {
            return Response::problem(503, "this instance is not active").with_header("retry-after", "1");
        };
        let asked = Asked::of(&request);
        let answered = self.threads.run(move || site.answer(&asked)).await;
        answered.unwrap_or_else(|| Response::problem(500, "the file could not be read; the log says why"))
    }
}

export_plugin!(Files);
