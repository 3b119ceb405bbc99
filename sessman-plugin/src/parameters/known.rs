//! Finds the parameter for a name.

use plugin_api::settings;

use super::table::{Name, spellings};
use crate::problem::Problem;

/// The parameter in `accepted` with this name.
///
/// No accepted parameter has this name. It is rejected, because a typo must not create a session that lives longer, or
/// holds less, than intended.
pub(super) fn find(name: &str, accepted: &[Name]) -> Result<Name, Problem> {
    Name::find(name, accepted).ok_or_else(|| {
        let takes = || spellings(accepted).map(|(spelling, _)| spelling);
        let shown: String = name.chars().take(64).collect();
        let hint = match settings::nearest(&shown, takes()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if accepted.is_empty() => "this route takes none".to_owned(),
            None => format!("this route takes {}", takes().collect::<Vec<_>>().join(", ")),
        };
        Problem::malformed(format!("unknown parameter {shown:?}; {hint}"))
    })
}
