//! `sessman.json` as it is written, but for the keys of stores: each store has its own.

use serde::Deserialize;
use serde_json::Value;

/// The keys of `sessman.json` that are about sessions, whatever keeps them: their encryption, rules, access and cookie.
/// Numbers and booleans may be written as text, too.
///
/// It has no `Debug`: it holds keys.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawConfig {
    /// Keys of 32 bytes that encrypt `data` and `metadata` in the store: the first encrypts, all of them open; see
    /// docs/stores.md.
    ///
    /// Default: none.
    pub(super) encryption_keys: Option<Value>,
    /// With `encryption_keys`: whether records that were written before there were keys are read. For as long, who can
    /// write to the store can put sessions into it.
    ///
    /// Default: false.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) accept_unencrypted: Option<bool>,
    /// With `encryption_keys`: whether a record must have the MAC that shows that nobody without the key changed it. With
    /// `optional` records without the right one are read, and get it at their next write; with `off` none is made, as
    /// long as a version that knows no MACs works on the same store. See docs/stores.md.
    ///
    /// Default: `required`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) record_macs: Option<String>,
    /// Seconds that a session lives from new, update, touch or rotate. A changed value counts for a session without a time
    /// of its own from its next renewal on.
    ///
    /// Default: 86400.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) session_ttl: Option<u64>,
    /// The largest `ttl_seconds` that a session may ask for. It counts for sessions that began before it was set, too.
    ///
    /// Default: 2592000.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) max_ttl: Option<u64>,
    /// With `update`, new, update, touch and rotate are activity; with `access` reading is, too. Without an
    /// `idle_timeout`, activity begins the time to live anew.
    ///
    /// Default: `update`; `access` once there is an `idle_timeout`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) sliding: Option<String>,
    /// Seconds without activity after which a session ends, whatever the value was when it began.
    ///
    /// Default: none.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) idle_timeout: Option<u64>,
    /// Seconds after its beginning at which a session ends, whatever happens, and whatever the value was when it began.
    ///
    /// Default: none.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) absolute_ttl: Option<u64>,
    /// Seconds between two times that reading is written down as activity; at most half of the shorter of time to live
    /// and `idle_timeout` counts. A session may end that much early, never late.
    ///
    /// Default: a twentieth of the shorter of time to live and `idle_timeout`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) touch_interval: Option<u64>,
    /// The most live sessions of a user, 0 for any number; anonymous sessions are not counted.
    ///
    /// Default: 0.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) max_sessions_per_user: Option<u64>,
    /// What happens to one more: `evict_oldest` ends the oldest, `reject` refuses the new one with 409. With `reject` a session
    /// that was never used since it began may be replaced after two minutes: its login may never have been answered.
    ///
    /// Default: `evict_oldest`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) on_limit: Option<String>,
    /// Sessions that begin in a minute, for each client address (of IPv6 for each network of 64 bits) and each user; 429
    /// beyond, 0 for any number.
    ///
    /// Default: 0.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) new_rate: Option<u64>,
    /// Whether a session is found only from the address in its `metadata.client_ip`: that of the client that began it,
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
    /// What opens the routes for administrators, sent as `X-Admin-Key`; several while one replaces another. Without one
    /// nobody may use them.
    ///
    /// Default: none.
    pub(super) admin_key: Option<Value>,
    /// What an update does that does not say.
    ///
    /// Default: `replace`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) update_mode: Option<String>,
    /// The most bytes of `data` as compact JSON, of a patch for it, and of `metadata`; 413 above.
    ///
    /// Default: 262144.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) max_data_bytes: Option<usize>,
    /// Seconds between two clean-ups.
    ///
    /// Default: 300.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) cleanup_interval: Option<u64>,
    /// What a live session's id alone opens where there is a key: nothing, everything but changes of data and user, or
    /// those of data too.
    ///
    /// Default: `none`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) client_access: Option<String>,
    /// Without a key anybody may create a session for any user; `verify` and `auth_type=session` then refuse, unless
    /// this is true.
    ///
    /// Default: false.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) allow_open_login: Option<bool>,
    /// Whether `verify` answers on every path below it, too: for proxies that put the path of the request that they ask about
    /// behind it, as Envoy does.
    ///
    /// Default: false.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) verify_prefix: Option<bool>,
    /// Whether `verify` lets the preflights of browsers through without a session, as whose they are nobody can say. For
    /// applications that answer `OPTIONS` with nothing but what pages of other origins may do.
    ///
    /// Default: false.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) verify_preflight: Option<bool>,
    /// What `verify` signs its answers with, as `X-Session-Signature`: at least 32 characters, which the back ends that check
    /// it have, too.
    ///
    /// Default: none.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) verify_key: Option<String>,
    /// Whether an id may stand in the query of a URL, which others log: as `session_id` or `external_id`. With `false` it comes
    /// in a header, the cookie or the body.
    ///
    /// Default: true.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) ids_in_urls: Option<bool>,
    /// Whether a line of the log tells of each session that begins, gets a new id, ends, gives way to another or is refused:
    /// its handle and its user, never its id.
    ///
    /// Default: true.
    #[serde(deserialize_with = "settings::loose::option")]
    pub(super) audit: Option<bool>,
    /// `false` for none, or an object with `name` (`PS_SESSID`; of another instance `<instance>_sid`), `path` (`/`),
    /// `domain`, `same_site` (`Lax`), `secure` (true; where there is no key, not for `http://localhost`).
    ///
    /// Default: `{}`.
    pub(super) cookie: Option<Value>,
}
