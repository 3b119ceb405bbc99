//! The client of a running pserve: HTTP with an admin key.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use serde_json::{Value, json};
use sessman::id::Handle;
use sessman::secret::Secret;
use sessman::sessions::Filter;
use sessman::time::Timestamp;

use crate::failure::{Away, Usage};
use crate::filter::query;
use crate::site::Site;

/// Timeout; longer than the host's default request timeout.
const LIMIT: Duration = Duration::from_secs(120);
/// The most handles per request.
const HANDLES: usize = 1_000;

/// An instance of a running pserve.
pub(crate) struct Server {
    agent: ureq::Agent,
    url: String,
    admin_key: Secret,
}

impl Server {
    /// The server at `url`, or at the address from the configuration. Does not connect yet.
    ///
    /// # Errors
    /// [`Usage`]: the configuration has no admin key, or not the server's address.
    pub(crate) fn new(site: &Site, url: Option<&str>) -> Result<Self> {
        let url = match url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => site.url.clone().map_err(Usage)?,
        };
        let Some(admin_key) = site.admin_key.clone() else {
            return Err(Usage(format!(
                "the running pserve has to do this, and {} has no `admin_key` to ask it with; set one and reload \
                 pserve, or stop pserve and try again",
                site.instance
            ))
            .into());
        };
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            return Err(Usage(format!("--url: expected http://HOST:PORT{}", "/sessman")).into());
        }
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // The key is for this server alone, so redirects are not followed.
            .max_redirects(0)
            // Nor is a proxy from the environment used.
            .proxy(None)
            .timeout_global(Some(LIMIT))
            .build();
        Ok(Self { agent: config.into(), url, admin_key })
    }

    /// `stats`.
    pub(crate) fn stats(&self, filter: &Filter) -> Result<Value> {
        self.ask("GET", "stats", &query(filter).replacen('&', "?", 1), None)
    }

    /// A page of `list`.
    pub(crate) fn list(&self, filter: &Filter, after: Option<Handle>, limit: usize) -> Result<Value> {
        let cursor = after.map(|after| format!("&cursor={after}")).unwrap_or_default();
        self.ask("GET", "list", &format!("?limit={limit}{cursor}{}", query(filter)), None)
    }

    /// `end-sessions`; returns the handles of the sessions that ended.
    pub(crate) fn end(&self, handles: &[Handle]) -> Result<Vec<String>> {
        let mut ended = Vec::new();
        for slice in handles.chunks(HANDLES) {
            let handles: Vec<String> = slice.iter().map(ToString::to_string).collect();
            ended.extend(texts(
                &self.ask("POST", "end-sessions", "", Some(json!({ "handles": handles })))?["handles"],
            ));
        }
        Ok(ended)
    }

    /// What an `end-sessions` with this filter would end.
    pub(crate) fn preview_end(&self, filter: &Filter) -> Result<Value> {
        self.ask("POST", "end-sessions", &format!("?dry_run=yes{}", query(filter)), None)
    }

    /// `end-sessions` with a filter; returns the handles of the sessions that ended.
    pub(crate) fn end_matching(
        &self,
        filter: &Filter,
        cutoff: Timestamp,
        at_most: u64,
    ) -> Result<Vec<String>> {
        let query = format!("?at_most={at_most}&cutoff={cutoff}{}", query(filter));
        Ok(texts(&self.ask("POST", "end-sessions", &query, None)?["handles"]))
    }

    /// `end-user`; returns the handles of the sessions that ended.
    pub(crate) fn end_user(&self, user_id: &str) -> Result<Vec<String>> {
        let answer = self.ask("POST", "end-user", "", Some(json!({ "user_id": user_id })))?;
        Ok(texts(&answer["handles"]))
    }

    /// `cleanup`; returns the number of deleted records.
    pub(crate) fn clean_up(&self) -> Result<u64> {
        let answer = self.ask("POST", "cleanup", "", Some(json!({})))?;
        answer["purged"].as_u64().ok_or_else(|| anyhow!("{} does not answer as a sessman does", self.url))
    }

    fn ask(&self, method: &str, route: &str, query: &str, body: Option<Value>) -> Result<Value> {
        let url = format!("{}/{route}{query}", self.url);
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(&url)
            .header("x-admin-key", self.admin_key.expose())
            .body(body.map(|body| body.to_string()).unwrap_or_default());
        // The error's message would show the key if the key is the invalid part.
        let request = request.map_err(|_| Usage(format!("{} is no URL of a sessman", self.url)))?;
        let away = |error: ureq::Error| Away(format!("no answer from pserve at {}: {error}", self.url));
        let mut answer = self.agent.run(request).map_err(away)?;
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string().map_err(away)?;
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        let said = value["error"].as_str().unwrap_or("it does not answer as a sessman does");
        match answer.status().as_u16() {
            200 if value.is_object() => Ok(value),
            401 => bail!(
                "pserve at {} did not take the admin_key of this configuration; was it reloaded?",
                self.url
            ),
            status @ (502..=504) => {
                Err(Away(format!("pserve at {} answered {status}: {said}", self.url)).into())
            }
            status => bail!("pserve at {} answered {status}: {said}", self.url),
        }
    }
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}
