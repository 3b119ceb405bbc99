//! The options that choose sessions, as a filter of the engine and as a query of the HTTP routes.

use std::net::IpAddr;

use clap::Args;
use sessman::labels::{Label, LabelError};
use sessman::sessions::Filter;
use sessman::time::Timestamp;

/// Which sessions are meant: those for which all of this holds. Times are as in RFC 3339, such as 2026-01-02T03:04:05Z.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Conditions {
    /// Only this user's.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only those with this label; with several, only those with all of them.
    #[arg(long = "label", value_name = "NAME:VALUE", value_parser = label)]
    labels: Vec<Label>,
    /// Only those whose `metadata.client_ip` is this address.
    #[arg(long, value_name = "ADDRESS")]
    client_ip: Option<IpAddr>,
    /// Only those created before, as in RFC 3339: 2026-01-02T03:04:05Z.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    created_before: Option<Timestamp>,
    /// Only those created then or later.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    created_after: Option<Timestamp>,
    /// Only those last active before.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    active_before: Option<Timestamp>,
    /// Only those last active then or later.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    active_after: Option<Timestamp>,
    /// Only those that expire before, unless they are extended.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    expires_before: Option<Timestamp>,
}

impl Conditions {
    /// As the engine takes it.
    pub(crate) fn filter(&self) -> Filter {
        let Self {
            user,
            labels,
            client_ip,
            created_before,
            created_after,
            active_before,
            active_after,
            expires_before,
        } = self.clone();
        Filter {
            user_id: user,
            labels,
            client_ip,
            created_before,
            created_after,
            active_before,
            active_after,
            expires_before,
        }
    }
}

/// The parameters of an HTTP route for this filter, each behind a `&`.
pub(crate) fn query(filter: &Filter) -> String {
    let mut query = String::new();
    for (name, value) in filter.parameters() {
        query.push_str(&format!("&{name}="));
        query.extend(value.bytes().map(|byte| format!("%{byte:02X}")));
    }
    query
}

fn label(text: &str) -> Result<Label, LabelError> {
    Label::parse(text)
}

fn moment(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse(text).ok_or("expected a time as in RFC 3339, such as 2026-01-02T03:04:05Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_each_condition_and_no_character_with_a_meaning() {
        assert_eq!(query(&Filter::default()), "");
        let moment = moment("2026-01-02T04:04:05.0069+01:00").unwrap();
        let filter = Conditions {
            user: Some("a&b".to_owned()),
            labels: vec![label("a:é").unwrap(), label("b:1").unwrap()],
            client_ip: Some(IpAddr::from([192, 0, 2, 1])),
            created_before: Some(moment),
            created_after: Some(moment),
            active_before: Some(moment),
            active_after: Some(moment),
            expires_before: Some(moment),
        }
        .filter();
        let query = query(&filter);
        assert!(
            query.starts_with("&user_id=%61%26%62&label=%61%3A%C3%A9&label=%62%3A%31&client_ip=%31"),
            "{query}"
        );
        assert_eq!(query.matches('&').count(), 9);
        let text: String = moment.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert_eq!(
            (query.matches(&text).count(), moment.to_string().as_str()),
            (5, "2026-01-02T03:04:05.006Z")
        );
    }

    #[test]
    fn what_is_no_time_or_label_is_refused() {
        for text in ["", "yesterday", "2026-01-02", "2026-01-02T03:04:05", "1767323045", "30d"] {
            assert!(moment(text).is_err(), "{text}");
        }
        for text in ["", "tenant", "tenant:", "Tenant:x", ":x"] {
            assert!(label(text).is_err(), "{text}");
        }
    }
}
