//! An instance of the plugin in this process, and requests to it.

use std::net::{IpAddr, Ipv4Addr};

use abi_stable::RRef;
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RBox, ROption, RResult, RSlice, RStr};
use plugin_api::abi::host::{RawHost, RawHost_TO};
use plugin_api::abi::now::{NOW, NOW_VERSION, RawNowBox};
use plugin_api::abi::plugin::RawPluginBox;
use plugin_api::abi::request::{
    RawAddress, RawHeaderRef, RawPrincipalRef, RawRequest, RawRequest_TO, RawRequestRef,
};
use plugin_api::abi::response::RawResponse;
use plugin_api::extension::RawExtension;
use plugin_api::sdk::export::root_module;
use serde_json::Value;
use sessman_plugin::Sessman;
use tokio::runtime::{Builder, Runtime};

/// A request.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// Index into the plugin's routes.
    pub route: usize,
    /// As received.
    pub method: &'static str,
    /// Without `?`.
    pub query: String,
    /// In lower case, and their values.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether a page of another origin sent it.
    pub cross_site: bool,
}

impl Call {
    /// As it crosses the boundary.
    pub fn raw(&self) -> RawRequestRef<'_> {
        RawRequest_TO::from_ptr(RRef::new(self), TD_Opaque)
    }

    /// The request with `id` wherever `mark` is.
    pub fn with_id(&self, mark: &str, id: &str) -> Self {
        let headers = self.headers.iter().map(|(name, value)| (*name, value.replace(mark, id))).collect();
        let body = match std::str::from_utf8(&self.body) {
            Ok(text) => text.replace(mark, id).into_bytes(),
            Err(_) => self.body.clone(),
        };
        Self { query: self.query.replace(mark, id), headers, body, ..*self }
    }
}

/// What came of it.
#[derive(PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body, if it is JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// An instance that serves, with sessions in memory.
pub struct Instance {
    /// Futures of `raw` are polled on it.
    pub runtime: Runtime,
    /// As the host sees it.
    pub raw: RawPluginBox,
    /// For what is answered on the spot.
    pub now: RawNowBox,
}

impl Instance {
    /// Starts it.
    ///
    /// # Panics
    /// When the plugin refuses.
    pub fn start() -> Self {
        let runtime = Builder::new_current_thread().build().expect("a runtime starts");
        let prepare = root_module::<Sessman>().prepare();
        let raw = match prepare(RawHost_TO::from_ptr(RBox::new(Host), TD_Opaque)) {
            RResult::ROk(raw) => raw,
            RResult::RErr(error) => panic!("no instance: {error}"),
        };
        if let RResult::RErr(error) = runtime.block_on(raw.activate()) {
            panic!("it does not become active: {error}");
        }
        let now = raw.extension(NOW.into(), NOW_VERSION).into_option();
        let now = now.and_then(|extension| extension.downcast().ok()).expect("it answers on the spot");
        Self { runtime, raw, now }
    }

    /// The plugin's answer.
    ///
    /// # Panics
    /// When the plugin does, and when it answers otherwise on the spot.
    pub fn answer(&self, call: &Call) -> Answer {
        let at_once = match self.now.handle_now(call.raw()) {
            RResult::ROk(answer) => answer.into_option().map(Answer::from),
            RResult::RErr(panic) => panic!("{call:?}: {panic}"),
        };
        let answer = match self.runtime.block_on(self.raw.handle(call.raw())) {
            RResult::ROk(response) => Answer::from(response),
            RResult::RErr(panic) => panic!("{call:?}: {panic}"),
        };
        assert!(at_once.is_none_or(|at_once| at_once == answer), "{call:?}");
        answer
    }
}

impl From<RawResponse> for Answer {
    fn from(response: RawResponse) -> Self {
        Self {
            status: response.status,
            headers: response.headers.iter().map(|it| (it.name.to_string(), it.value.to_string())).collect(),
            body: response.body.into_vec(),
        }
    }
}

struct Host;

impl RawHost for Host {
    fn instance(&self) -> RStr<'_> {
        "fuzz".into()
    }

    fn config(&self) -> RStr<'_> {
        r#"{"backend": "memory"}"#.into()
    }

    fn state_folder(&self) -> RStr<'_> {
        "/".into()
    }

    fn log_enabled(&self, _level: u8) -> bool {
        false
    }

    fn log(&self, _level: u8, _message: RStr<'_>) {}

    fn extension(&self, _id: RStr<'_>, _version: u32) -> ROption<RawExtension> {
        ROption::RNone
    }
}

impl RawRequest for Call {
    fn route(&self) -> u32 {
        u32::try_from(self.route).unwrap_or(u32::MAX)
    }

    fn method(&self) -> RStr<'_> {
        self.method.into()
    }

    fn path(&self) -> RStr<'_> {
        "/sessman/any".into()
    }

    fn path_below_mount(&self) -> RStr<'_> {
        "any".into()
    }

    fn query(&self) -> RStr<'_> {
        self.query.as_str().into()
    }

    fn header(&self, name: RStr<'_>, nth: usize) -> ROption<RSlice<'_, u8>> {
        let mut named = self.headers.iter().filter(|(found, _)| *found == name.as_str());
        named.nth(nth).map(|(_, value)| RSlice::from_slice(value.as_bytes())).into()
    }

    fn header_at(&self, index: usize) -> ROption<RawHeaderRef<'_>> {
        let header = self.headers.get(index);
        header
            .map(|(name, value)| RawHeaderRef {
                name: (*name).into(),
                value: RSlice::from_slice(value.as_bytes()),
            })
            .into()
    }

    fn body(&self) -> RSlice<'_, u8> {
        RSlice::from_slice(&self.body)
    }

    fn client_address(&self) -> RawAddress {
        Some(IpAddr::V4(Ipv4Addr::LOCALHOST)).into()
    }

    fn scheme(&self) -> RStr<'_> {
        "http".into()
    }

    fn host(&self) -> RStr<'_> {
        "localhost".into()
    }

    fn request_id(&self) -> RStr<'_> {
        "fuzz-1".into()
    }

    fn time_left(&self) -> u64 {
        u64::MAX
    }

    fn caller(&self) -> u8 {
        0
    }

    fn principal(&self) -> ROption<RawPrincipalRef<'_>> {
        ROption::RNone
    }

    fn cross_site(&self) -> bool {
        self.cross_site
    }

    fn extension(&self, _id: RStr<'_>, _version: u32) -> ROption<RawExtension> {
        ROption::RNone
    }
}
