//! `end-sessions`: ends the sessions with these handles, or those that match a filter.
//!
//! An end by filter is asked first with `dry_run`: how many match, which, and a cutoff. The act names that cutoff, so that
//! no session ends that began since, and the most that may end.

use plugin_api::{Class, Response};
use sessman::error::Error;
use sessman::sessions::Filter;

use super::exchange::Exchange;
use super::filter;
use super::spec::{Returns, Spec, joined};
use crate::parameters::{Name, PAGE, Values};
use crate::problem::Problem;
use crate::render;

/// `end-sessions`
pub(super) const ROUTE: Spec =
    Spec::new("end-sessions", &["POST"], Class::Admin, Returns::EndedOrPreview, |exchange| {
        Box::pin(answer(exchange))
    })
    .described("Ends the sessions with these handles, or those that match", &["endSessions"])
    .accepts(&joined::<12>(&filter::NAMES, &[Name::Handles, Name::DryRun, Name::Cutoff, Name::AtMost]))
    .refuses(&[409]);

async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let mut values = exchange.parameters()?.values;
    let filter = filter::of(&mut values);
    let sessions = &exchange.service.sessions;
    match (values.handles.take(), filter.is_empty()) {
        (Some(_), false) => Err(Problem::malformed("handles: give either these or a filter")),
        // Whoever asks for a preview must not end sessions by it.
        (Some(_), true)
            if values.dry_run == Some(true) || values.cutoff.is_some() || values.at_most.is_some() =>
        {
            Err(Problem::malformed("dry_run, cutoff and at_most go with a filter, not with handles"))
        }
        (Some(handles), true) => {
            let ended = sessions.end_handles(handles).await?;
            exchange.audit(&format!("ended sessions: {}", render::handles(&ended)));
            Ok(render::ended(&ended))
        }
        (None, true) => Err(Problem::malformed(
            "no handles given, and no filter such as label or user_id; `clear` ends all sessions",
        )),
        (None, false) => matching(&exchange, &filter, &values).await,
    }
}

/// An end by filter, or what it would end.
async fn matching(
    exchange: &Exchange<'_, '_>,
    filter: &Filter,
    values: &Values,
) -> Result<Response, Problem> {
    let sessions = &exchange.service.sessions;
    if values.dry_run == Some(true) {
        let preview = sessions.preview_end(filter, PAGE).await.map_err(Error::from)?;
        exchange.audit(&format!(
            "asked what an end would end: {} {}",
            preview.matching,
            filter::text(filter)
        ));
        return Ok(render::preview(&preview));
    }
    let (Some(cutoff), Some(at_most)) = (values.cutoff, values.at_most) else {
        return Err(Problem::malformed(
            "an end by filter needs cutoff and at_most; ask first with dry_run, which answers a cutoff and how many match",
        ));
    };
    let ended = sessions.end_matching(filter, cutoff, at_most).await?;
    exchange.audit(&format!("ended sessions {}: {}", filter::text(filter), render::handles(&ended)));
    Ok(render::ended(&ended))
}
