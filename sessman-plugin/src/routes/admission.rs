//! Authorizes the caller.

use plugin_api::{Caller, Class, Grant, Level, Secret};

use super::exchange::Exchange;
use super::spec::Spec;
use crate::cookie::header;
use crate::problem::Problem;
use crate::problem_type::ProblemType;

impl Exchange<'_, '_> {
    /// Checks whether the caller may use the route. For the class `Service`, the host has checked the key already.
    pub(super) fn admit(&self, spec: &Spec) -> Result<(), Problem> {
        let access = &self.service.access;
        match (spec.route.class, self.request.caller()) {
            // The operator has allowed the calling plugin as much.
            (Class::Admin, _) if self.grant() == Some(Grant::Admin) => Ok(()),
            (Class::Admin, _) => self.admit_admin(),
            (class, Caller::Unkeyed)
                if spec.opened_by.is_some_and(|needed| access.client_access < needed)
                    && !self.may_use_session(spec) =>
            {
                Err(Problem::unauthorized(
                    ProblemType::KeyRequired,
                    match class {
                        Class::ForwardAuth => "this route needs the API key; send it as X-Custom-Auth",
                        _ => "this route needs the API key; send it as Authorization: Bearer",
                    },
                ))
            }
            // Without a key, anybody can create a session for any user, and the proxy would take it for a login.
            (Class::ForwardAuth, Caller::Open) if !access.allow_open_login => Err(Problem::new(
                ProblemType::OpenLogin,
                "there is no key, so anybody may create a session for any user: set a key, or allow_open_login",
            )),
            _ => Ok(()),
        }
    }

    /// What the operator allows the calling plugin; `None` for a client.
    fn grant(&self) -> Option<Grant> {
        self.called.as_ref().map(|called| called.grant)
    }

    /// Whether another plugin calls on a session that the host has let it use, and for something that concerns this session
    /// alone.
    fn may_use_session(&self, spec: &Spec) -> bool {
        let is_named = self.called.as_ref().is_some_and(|called| called.session.is_some());
        is_named
            && matches!(
                spec.route.path,
                "get" | "profile" | "validate" | "update" | "touch" | "end" | "logout"
            )
    }

    /// Logs a call of another plugin that begins or ends sessions. Changes of data are not logged, whoever makes them: there
    /// are too many.
    pub(super) fn audit_call(&self, spec: &Spec) {
        let Some(called) = &self.called else { return };
        let is_frequent = matches!(spec.route.path, "update" | "touch" | "validate");
        if !self.service.access.audit || is_frequent || self.request.method() == "GET" {
            return;
        }
        let session = called.session.as_deref().map(|handle| format!(" handle={handle}"));
        let (route, session) = (spec.route.path, session.unwrap_or_default());
        self.note(Level::Info, &format!("audit: a plugin calls {route}{session}"));
    }

    fn admit_admin(&self) -> Result<(), Problem> {
        let Some(keys) = &self.service.access.admin_keys else {
            return Err(Problem::new(
                ProblemType::AdminDisabled,
                "there is no admin_key, so nobody may use this route",
            ));
        };
        // Only a single value: a request is one guess.
        let mut sent = self.request.header_all("x-admin-key");
        match (sent.next(), sent.next()) {
            (None, _) => return Err(Problem::not_admin()),
            (Some(key), None) if keys.accept(header::trim(key)) => return Ok(()),
            _ => {}
        }
        if !self.request.brought_wrong(Secret::AdminKey)
            && let Some(times) = self.service.wrong_admin_keys.is_due()
        {
            self.note(Level::Warn, &format!("a wrong X-Admin-Key was sent requests={times}"));
        }
        Err(Problem::not_admin())
    }
}
