//! `sessman.json` as written, without the keys of stores: each store has its own.

use serde::Deserialize;
use serde_json::Value;

/// The keys of `sessman.json` that are about sessions, whatever the store: encryption, rules, access and cookie.
/// Numbers and booleans may be written as text, too.
///
/// It has no `Debug`, as it holds secrets.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawConfig {
    /// Keys of 32 bytes that encrypt `data` and `metadata` in the store: the first encrypts, all of them decrypt; see
    /// docs/stores.md.
    ///
    /// Default: none.
    pub(super) encryption_keys: Option<Value>,
    /// With `encryption_keys`: whether records that were written before there were keys are accepted. While this is true,
    /// anyone who can write to the store can forge sessions.
    ///
    /// Default: false.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) accept_unencrypted: Option<bool>,
    /// With `encryption_keys`: whether a record must have a valid MAC, which proves that it was written with the key. With
    /// `optional`, records without a valid one are accepted, and get it at their next write. With `off` none is written, for as
    /// long as a version that knows no MACs uses the same store. See docs/stores.md.
    ///
    /// Default: `required`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) record_macs: Option<String>,
    /// Seconds that a session lives from new, update, touch or rotate. A changed value applies to a session without a time
    /// of its own from its next renewal on.
    ///
    /// Default: 86400.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) session_ttl: Option<u64>,
    /// The largest `ttl_seconds` that a session may request. It also applies to sessions that began before it was set.
    ///
    /// Default: 2592000.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) max_ttl: Option<u64>,
    /// What happens to a request for a `ttl_seconds` beyond `max_ttl`: with `refuse` the answer is 400, with `cut` the session
    /// gets `max_ttl`.
    ///
    /// Default: `refuse`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) on_max_ttl: Option<String>,
    /// With `update`, new, update, touch and rotate are activity; with `access` reading is, too. Without an
    /// idle timeout, activity restarts the time to live.
    ///
    /// Default: `update`; `access` for a session with an idle timeout.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) sliding: Option<String>,
    /// Seconds without activity after which a session expires, whatever the value was when it began.
    ///
    /// Default: none.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) idle_timeout: Option<u64>,
    /// The largest `idle_seconds` that a session may request; 0 for any. Where there is a limit, `idle_seconds` 0 (no idle
    /// timeout) is refused. A larger `idle_timeout` counts in its place.
    ///
    /// Default: the `idle_timeout`; without one, any.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) max_idle: Option<u64>,
    /// Seconds after its creation at which a session expires, whatever its activity, and whatever the value was when it began.
    ///
    /// Default: none.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) absolute_ttl: Option<u64>,
    /// Seconds between two writes that record reading as activity; at most half of the shorter of time to live and
    /// `idle_timeout` counts. A session may expire that much early, never late.
    ///
    /// Default: a twentieth of the shorter of time to live and `idle_timeout`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) touch_interval: Option<u64>,
    /// The most live sessions of a user, 0 for no limit; anonymous sessions are not counted.
    ///
    /// Default: 0.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) max_sessions_per_user: Option<u64>,
    /// What happens beyond `max_sessions_per_user`: `evict_oldest` ends the oldest, `reject` refuses the new one with 409. With
    /// `reject` a session that was never used may be evicted two minutes after it began: the response to its login may have
    /// been lost.
    ///
    /// Default: `evict_oldest`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) on_limit: Option<String>,
    /// The most new sessions per minute, for each client address (of IPv6 for each network of 64 bits) and each user; 429
    /// beyond, 0 for no limit.
    ///
    /// Default: 0.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) new_rate: Option<u64>,
    /// Whether a session is valid only from the address in its `metadata.client_ip`: that of the client that created it,
    /// unless given.
    ///
    /// Default: false.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) bind_ip: Option<bool>,
    /// Whether an update must have `If-Match`; 428 without.
    ///
    /// Default: false.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) require_match: Option<bool>,
    /// Opens the admin routes, sent as `X-Admin-Key`; several keys during a key rotation. Without a key, or
    /// with an empty one, the admin routes are closed.
    ///
    /// Default: none.
    pub(super) admin_key: Option<Value>,
    /// What an update does to the data if the request does not say: `replace` or `merge`.
    ///
    /// Default: `replace`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) update_mode: Option<String>,
    /// The most bytes of `data` as compact JSON, of a patch for it, and of `metadata`; 413 above.
    ///
    /// Default: 262144.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) max_data_bytes: Option<usize>,
    /// Seconds between two clean-ups of expired records.
    ///
    /// Default: 300.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) cleanup_interval: Option<u64>,
    /// The same as `cleanup_interval`.
    ///
    /// Default: none.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) vacuum_interval: Option<u64>,
    /// What a client may do with a live session's id alone where there is a key: nothing, everything but changes of data and
    /// user, or changes of data too.
    ///
    /// Default: `none`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) client_access: Option<String>,
    /// Without a key anybody can create a session for any user; `verify` and `auth_type=session` then refuse, unless
    /// this is true.
    ///
    /// Default: false.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) allow_open_login: Option<bool>,
    /// Whether `verify` also answers on every path below it: for proxies that append the path of the original request, as
    /// Envoy does.
    ///
    /// Default: false.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) verify_prefix: Option<bool>,
    /// Whether `verify` accepts CORS preflights, which browsers send without a session. For applications that answer `OPTIONS`
    /// with nothing but their CORS policy.
    ///
    /// Default: false.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) verify_preflight: Option<bool>,
    /// The key with which `verify` signs its responses, as `X-Session-Signature`: at least 32 characters, shared with the back
    /// ends that check it.
    ///
    /// Default: none.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) verify_key: Option<String>,
    /// Whether an id is accepted in the query of a URL, which proxies and servers log: as `session_id` or `external_id`. With
    /// `false` it must be in a header, the cookie or the body.
    ///
    /// Default: true.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) ids_in_urls: Option<bool>,
    /// Whether the log has a line for each session that is created, rotated, ended, evicted or refused: its handle and its user,
    /// never its id.
    ///
    /// Default: true.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) audit: Option<bool>,
    /// `false` for none, or an object with `name` (`PS_SESSID`; of another instance `<instance>_sid`), `path` (`/`),
    /// `domain`, `same_site` (`Lax`), `secure` (true; where there is no key, not for `http://localhost`), `persistent` (false;
    /// true for cookies that outlive the browser, whatever a session says), `partitioned` (false; true for frames of other
    /// sites), `clear_site_data` (false; true asks the browser at `end` to clear what it keeps of the site). The name `auto` is
    /// `__Host-` and the default name, or `__Secure-` where there is a `domain` or another `path`.
    ///
    /// Default: `{}`.
    pub(super) cookie: Option<Value>,
}
