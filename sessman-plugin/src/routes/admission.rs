//! Whether a caller may ask at all.

use plugin_api::{Caller, Class, Level, Secret};

use super::exchange::Exchange;
use super::spec::Spec;
use crate::cookie::header;
use crate::problem::Problem;
use crate::problem_type::ProblemType;

impl Exchange<'_, '_> {
    /// Whether the caller may ask at all. The host has asked for the key where the class is `Service`.
    pub(super) fn admit(&self, spec: &Spec) -> Result<(), Problem> {
        let access = &self.service.access;
        match (spec.route.class, self.request.caller()) {
            (Class::Admin, _) => self.admit_admin(),
            (class, Caller::Unkeyed)
                if spec.opened_by.is_some_and(|needed| access.client_access < needed) =>
            {
                Err(Problem::unauthorized(
                    ProblemType::KeyRequired,
                    match class {
                        Class::ForwardAuth => "this route needs the API key; send it as X-Custom-Auth",
                        _ => "this route needs the API key; send it as Authorization: Bearer",
                    },
                ))
            }
            // Whoever asks would take the user of such a session for someone who logged in.
            (Class::ForwardAuth, Caller::Open) if !access.allow_open_login => Err(Problem::new(
                ProblemType::OpenLogin,
                "there is no key, so anybody may create a session for any user: set a key, or allow_open_login",
            )),
            _ => Ok(()),
        }
    }

    fn admit_admin(&self) -> Result<(), Problem> {
        let Some(keys) = &self.service.access.admin_keys else {
            return Err(Problem::new(
                ProblemType::AdminDisabled,
                "there is no admin_key, so nobody may use this route",
            ));
        };
        // One value: a request is one guess.
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
