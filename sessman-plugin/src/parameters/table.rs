//! Every parameter, in one table: a new one is one more line.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;
use sessman::data::Data;
use sessman::id::{Handle, SessionId};
use sessman::labels::{Label, LabelPatch};
use sessman::rules::UpdateMode;
use sessman::time::Timestamp;

use super::input::Input;
use super::schemas::{self, Bounds};
use super::values;
use crate::problem::Problem;

/// The definition of a parameter.
struct Definition {
    name: Name,
    /// Its name in the documentation, followed by its aliases.
    spellings: &'static [&'static str],
    schema: fn(Bounds) -> Value,
}

macro_rules! parameters {
    ($($name:ident as $field:ident: $type:ty, $spellings:expr, $read:path, $schema:path;)*) => {
        /// Identifies a parameter.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Name {
            $($name,)*
        }

        const DEFINITIONS: &[Definition] = &[
            $(Definition { name: Name::$name, spellings: &$spellings, schema: $schema },)*
        ];

        /// The values of a request's parameters.
        #[derive(Debug, Clone, Default)]
        pub(crate) struct Values {
            $(pub(crate) $field: Option<$type>,)*
        }

        impl Values {
            /// Parses and stores a value.
            ///
            /// # Errors
            /// It is not a valid value of this parameter, or another value is already stored.
            #[allow(unreachable_patterns, reason = "one parameter adds up")]
            pub(crate) fn put(&mut self, name: Name, input: Input<'_>) -> Result<(), Problem> {
                let text = name.text();
                match name {
                    // Labels add up.
                    Name::Label => {
                        let more = values::label(input, text)?;
                        values::add_labels(self.label.get_or_insert_default(), more, text)
                    }
                    $(Name::$name => once(&mut self.$field, $read(input, text)?, text),)*
                }
            }
        }
    };
}

parameters! {
    SessionId as session_id: String, ["session_id", "sessionid", "token"], values::string, schemas::session_id;
    UserId as user_id: String, ["user_id", "userid", "user", "username"], values::user_id, schemas::user_id;
    Data as data: Data, ["data"], values::data, schemas::data;
    Metadata as metadata: Data, ["metadata"], values::object, schemas::metadata;
    TtlSeconds as ttl: Duration, ["ttl_seconds"], values::seconds, schemas::ttl_seconds;
    IdleSeconds as idle: Duration, ["idle_seconds"], values::seconds, schemas::idle_seconds;
    Persistent as persistent: bool, ["persistent"], values::yes, schemas::persistent;
    Labels as labels: LabelPatch, ["labels"], values::labels, schemas::labels;
    Mode as mode: UpdateMode, ["mode"], values::mode, schemas::mode;
    ExternalId as external_id: SessionId, ["external_id"], values::external_id, schemas::external_id;
    Handle as handle: Option<Handle>, ["handle"], values::handle, schemas::handle;
    Handles as handles: Vec<Handle>, ["handles"], values::handles, schemas::handles;
    Others as others: bool, ["others"], values::yes, schemas::others;
    Cursor as cursor: Handle, ["cursor"], values::cursor, schemas::cursor;
    Limit as limit: usize, ["limit"], values::limit, schemas::limit;
    Label as label: Vec<Label>, ["label"], values::label, schemas::label;
    ClientIp as client_ip: IpAddr, ["client_ip"], values::address, schemas::address;
    CreatedBefore as created_before: Timestamp, ["created_before"], values::moment, schemas::moment;
    CreatedAfter as created_after: Timestamp, ["created_after"], values::moment, schemas::moment;
    ActiveBefore as active_before: Timestamp, ["active_before"], values::moment, schemas::moment;
    ActiveAfter as active_after: Timestamp, ["active_after"], values::moment, schemas::moment;
    ExpiresBefore as expires_before: Timestamp, ["expires_before"], values::moment, schemas::moment;
    DryRun as dry_run: bool, ["dry_run"], values::yes, schemas::dry_run;
    Cutoff as cutoff: Timestamp, ["cutoff"], values::moment, schemas::cutoff;
    AtMost as at_most: u64, ["at_most"], values::at_most, schemas::at_most;
    Confirm as confirm: bool, ["confirm"], values::yes, schemas::confirm;
}

impl Name {
    fn definition(self) -> &'static Definition {
        // The index is the same, because variants and definitions are generated from one table.
        &DEFINITIONS[self as usize]
    }

    /// The name in the documentation.
    pub(crate) fn text(self) -> &'static str {
        self.definition().spellings[0]
    }

    /// Its OpenAPI schema.
    pub(crate) fn schema(self, bounds: Bounds) -> Value {
        (self.definition().schema)(bounds)
    }

    /// The parameter in `accepted` with this name or alias.
    pub(crate) fn find(text: &str, accepted: &[Self]) -> Option<Self> {
        spellings(accepted).find(|(spelling, _)| *spelling == text).map(|(_, name)| name)
    }
}

/// All names and aliases of the parameters in `accepted`.
pub(crate) fn spellings(accepted: &[Name]) -> impl Iterator<Item = (&'static str, Name)> {
    let accepted = DEFINITIONS.iter().filter(|definition| accepted.contains(&definition.name));
    accepted.flat_map(|definition| definition.spellings.iter().map(|spelling| (*spelling, definition.name)))
}

/// A second value must equal the first.
fn once<T: PartialEq>(place: &mut Option<T>, value: T, name: &str) -> Result<(), Problem> {
    match place {
        Some(earlier) if *earlier != value => {
            Err(Problem::malformed(format!("{name}: given more than once, with different values")))
        }
        _ => {
            *place = Some(value);
            Ok(())
        }
    }
}

/// Every parameter.
#[cfg(test)]
pub(super) fn all() -> Vec<Name> {
    DEFINITIONS.iter().map(|definition| definition.name).collect()
}
