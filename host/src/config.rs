//! From an INI file and the environment to a checked [`Config`].
//!
//! `ini` (grammar) with `swallowed` -> `layers` (the file, overridden by the environment) -> `raw` (texts, references)
//! -> `reader` (types, defaults, rules) with `instances` and `doubtful` (warnings). A [`Config`] exists only
//! if there were no errors.

mod auth_type;
mod documents;
mod doubtful;
mod ini;
mod instances;
mod interpolation;
mod json5;
mod layers;
mod line;
mod load;
mod origins;
mod overrides;
mod own_section;
mod permission;
mod plugin_parms;
mod problem;
mod proxies;
mod raw;
mod reader;
mod secret;
mod secret_file;
mod sections;
mod swallowed;
#[cfg(test)]
mod tests;
pub(crate) mod tls;
mod types;
mod values;

pub use self::auth_type::AuthType;
pub(crate) use self::documents::FILES;
pub use self::ini::{Document, Entry, Section, SyntaxError, parse as parse_ini};
pub use self::load::{parse_json, read_file};
pub use self::origins::{Cors, Origins};
pub use self::own_section::OwnSection;
pub use self::permission::Permission;
pub use self::plugin_parms::{InstanceConfig, InstanceLine};
pub use self::problem::{ConfigError, Problem};
pub use self::proxies::Proxies;
pub(crate) use self::secret::LEAST_KEY;
pub use self::secret::{ApiKey, ApiKeys, Parameters};
pub(crate) use self::sections::SECTIONS;
pub use self::tls::Tls;
pub use self::types::{Auth, Config, Limits, Log, LogFormat, Network, Paths};
pub use self::values::level as parse_level;
