//! `end-user`: ends all sessions of a user.

use plugin_api::{Class, Response};

use super::exchange::Exchange;
use super::spec::{Returns, Spec};
use crate::parameters::Name;
use crate::problem::Problem;
use crate::render;

/// `end-user`
pub(super) const ROUTE: Spec =
    Spec::new("end-user", &["POST"], Class::Admin, Returns::Ended, |exchange| Box::pin(answer(exchange)))
        .described("Ends all sessions of a user", &["endUserSessions"])
        .accepts(&[Name::UserId])
        .requires(&[Name::UserId]);

async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    let user_id = parameters.values.user_id.ok_or_else(|| Problem::malformed("no user_id given"))?;
    let ended = exchange.service.sessions.end_user(user_id.clone()).await?;
    exchange.audit(&format!("ended all sessions of {user_id:?}: {}", render::handles(&ended)));
    Ok(render::ended(&ended))
}
