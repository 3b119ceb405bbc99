//! HTTP: connections, requests, routes, access, answers.

pub(crate) mod access;
mod deadline;
mod router;
