//! The parameters that say which sessions an administrator means.

use sessman::sessions::Filter;

use crate::parameters::{Name, Values};

pub(super) const NAMES: [Name; 8] = [
    Name::UserId,
    Name::Label,
    Name::ClientIp,
    Name::CreatedBefore,
    Name::CreatedAfter,
    Name::ActiveBefore,
    Name::ActiveAfter,
    Name::ExpiresBefore,
];

/// What the request says.
pub(super) fn of(values: &mut Values) -> Filter {
    Filter {
        user_id: values.user_id.take(),
        labels: values.label.take().unwrap_or_default(),
        client_ip: values.client_ip.take(),
        created_before: values.created_before.take(),
        created_after: values.created_after.take(),
        active_before: values.active_before.take(),
        active_after: values.active_after.take(),
        expires_before: values.expires_before.take(),
    }
}

/// For the log.
pub(super) fn text(filter: &Filter) -> String {
    let parameters = filter.parameters();
    let texts: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    texts.join(" ")
}
