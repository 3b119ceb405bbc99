//! The parameters that say which sessions an administrator means.

use sessman::sessions::Filter;

use crate::parameters::{Name, Values};

/// The parameters, with `more` behind them.
pub(super) const fn and<const N: usize, const M: usize>(more: [Name; M]) -> [Name; N] {
    let mut names = [Name::UserId; N];
    let filter = [
        Name::UserId,
        Name::Label,
        Name::ClientIp,
        Name::CreatedBefore,
        Name::CreatedAfter,
        Name::ActiveBefore,
        Name::ActiveAfter,
        Name::ExpiresBefore,
    ];
    assert!(filter.len() + M == N, "all of them, and no other");
    let mut at = 0;
    while at < N {
        names[at] = if at < filter.len() { filter[at] } else { more[at - filter.len()] };
        at += 1;
    }
    names
}

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
    let Filter {
        user_id,
        labels,
        client_ip,
        created_before,
        created_after,
        active_before,
        active_after,
        expires_before,
    } = filter;
    let labels = labels.iter().map(|label| format!("label={:?}", label.to_string()));
    let user = user_id.iter().map(|user_id| format!("user_id={user_id:?}"));
    let address = client_ip.iter().map(|address| format!("client_ip={address}"));
    let times = [
        ("created_before", created_before),
        ("created_after", created_after),
        ("active_before", active_before),
        ("active_after", active_after),
        ("expires_before", expires_before),
    ];
    let times = times.into_iter().filter_map(|(name, time)| Some(format!("{name}={}", (*time)?)));
    user.chain(labels).chain(address).chain(times).collect::<Vec<_>>().join(" ")
}
