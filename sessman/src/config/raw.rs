//! `sessman.json` as it is written.

use serde::Deserialize;
use serde_json::Value;

/// The keys of `sessman.json`. Numbers and booleans may be written as text, too.
///
/// It has no `Debug`: it holds passwords.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct RawConfig {
    /// `mongodb`, `redis`, `sqlite` or `memory`; if there is a `server_url` what its scheme says, `mongodb` without one,
    /// else `sqlite`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub backend: Option<String>,
    /// MongoDB: `host:port[,host:port]`, or a whole `mongodb://` or `mongodb+srv://` URL. Without it the environment
    /// variable `MONGODB_URI`, else `localhost:27017`. Redis: `host:port[,host:port]`, or a `redis://` or `rediss://`
    /// URL. Without it `REDIS_URL`, else `localhost:6379`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub server_url: Option<String>,
    /// MongoDB, Redis: who to log in as.
    #[serde(deserialize_with = "settings::loose::option")]
    pub username: Option<String>,
    /// MongoDB, Redis: the password, as it is, not escaped.
    #[serde(deserialize_with = "settings::loose::option")]
    pub password: Option<String>,
    /// MongoDB: the database; `sessman`. Redis: its number; what the URL says, else 0.
    #[serde(deserialize_with = "settings::loose::text_or_number")]
    pub database: Option<String>,
    /// MongoDB: the collection; `sessions`. Redis: what the names of all keys begin with; the instance's name.
    #[serde(deserialize_with = "settings::loose::option")]
    pub collection: Option<String>,
    /// MongoDB: the database that knows the user; `database`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub auth_source: Option<String>,
    /// MongoDB, Redis: PEM file with the certificates of those who vouch for the servers, instead of the public ones. A
    /// relative path begins in the state folder, as those of the other files do.
    #[serde(deserialize_with = "settings::loose::option")]
    pub tls_ca_file: Option<String>,
    /// MongoDB: PEM file with our own certificate and its key, where the servers ask for one.
    #[serde(deserialize_with = "settings::loose::option")]
    pub tls_certificate_key_file: Option<String>,
    /// Redis: PEM file with our own certificate, where the servers ask for one.
    #[serde(deserialize_with = "settings::loose::option")]
    pub tls_certificate_file: Option<String>,
    /// Redis: PEM file with the key of that certificate.
    #[serde(deserialize_with = "settings::loose::option")]
    pub tls_key_file: Option<String>,
    /// SQLite: the file; `<instance>.db`. A relative path begins in the state folder.
    #[serde(deserialize_with = "settings::loose::option")]
    pub path: Option<String>,
    /// SQLite: `full` (an answered write survives power loss) or `normal` (it survives the end of the process).
    #[serde(deserialize_with = "settings::loose::option")]
    pub durability: Option<String>,
    /// SQLite: the most bytes of sessions to keep in memory in front of the file; 67108864, and 0 for none.
    #[serde(deserialize_with = "settings::loose::option")]
    pub cache_bytes: Option<usize>,
    /// Memory: the most bytes of sessions to keep.
    #[serde(deserialize_with = "settings::loose::option")]
    pub max_memory_bytes: Option<usize>,
    /// Keys of 32 bytes as base64 or hexadecimal that encrypt `data` and `metadata` in the store: a text or a list of them,
    /// of which the first encrypts and all of them open; none.
    pub encryption_keys: Option<Value>,
    /// Whether records that were written before there were keys are read; `false`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub accept_unencrypted: Option<bool>,
    /// Seconds that a session lives from the last new, update or touch; 86400.
    #[serde(deserialize_with = "settings::loose::option")]
    pub session_ttl: Option<u64>,
    /// The largest `ttl_seconds` that a session may ask for; 30 days.
    #[serde(deserialize_with = "settings::loose::option")]
    pub max_ttl: Option<u64>,
    /// `update` or `access`: whether reading counts as activity; `access` once there is an `idle_timeout`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub sliding: Option<String>,
    /// Seconds without activity after which a session ends; none.
    #[serde(deserialize_with = "settings::loose::option")]
    pub idle_timeout: Option<u64>,
    /// Seconds after its beginning at which a session ends, whatever happens; none.
    #[serde(deserialize_with = "settings::loose::option")]
    pub absolute_ttl: Option<u64>,
    /// Seconds between two times that reading is written down as activity; a twentieth of the shorter of `session_ttl`
    /// and `idle_timeout`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub touch_interval: Option<u64>,
    /// The most sessions of a user; 0, for any number.
    #[serde(deserialize_with = "settings::loose::option")]
    pub max_sessions_per_user: Option<u64>,
    /// `evict_oldest` or `reject`: what happens to one more; `evict_oldest`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub on_limit: Option<String>,
    /// The most sessions that begin in a minute, for an address and for a user; 0, for any number.
    #[serde(deserialize_with = "settings::loose::option")]
    pub new_rate: Option<u64>,
    /// Whether a session is found only from the address that it began from; `false`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub bind_ip: Option<bool>,
    /// Whether an update must have `If-Match`; `false`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub require_match: Option<bool>,
    /// What opens the routes for administrators: a text or a list of them; none.
    pub admin_key: Option<Value>,
    /// `replace` or `merge`: what an update does that does not say; `replace`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub update_mode: Option<String>,
    /// The most bytes that data may have as compact JSON; 262144.
    #[serde(deserialize_with = "settings::loose::option")]
    pub max_data_bytes: Option<usize>,
    /// Seconds between two clean-ups, for stores that do not expire by themselves; 300.
    #[serde(deserialize_with = "settings::loose::option")]
    pub cleanup_interval: Option<u64>,
    /// `none`, `read` or `write`: what a live session's id alone opens where there is a key; `none`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub client_access: Option<String>,
    /// Whether a session says who its user is although there is no key, so that anybody may create one for any user;
    /// `false`.
    #[serde(deserialize_with = "settings::loose::option")]
    pub allow_open_login: Option<bool>,
    /// `false`, or an object with `name`, `path`, `domain`, `same_site`.
    pub cookie: Option<Value>,
}
