//! A plugin's routes.

use crate::abi::plugin::RawRoute;

/// Who may call a route. For [`Class::Service`] the host checks the key. For the others it reports in
/// [`Request::caller`](crate::Request::caller) whether the caller had the key, and the plugin decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// Anyone.
    Public = 0,
    /// Callers with the instance's key, if it has one.
    Service = 1,
    /// Callers with the key, or with a live session as far as the plugin allows.
    Session = 2,
    /// Callers with the plugin's own administrator key.
    Admin = 3,
    /// A reverse proxy that asks about another request. The `Authorization` header is that request's and not meant for
    /// this service, so that a key is accepted only in `X-Custom-Auth`. An announced body belongs to that request,
    /// too, and is not read.
    ForwardAuth = 4,
}

impl Class {
    /// The class with this number; `None` if it is unknown.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Public, Self::Service, Self::Session, Self::Admin, Self::ForwardAuth]
            .get(usize::from(number))
            .copied()
    }
}

/// One route of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Relative to the mount, without a leading slash; a `*` at the end matches anything.
    pub path: &'static str,
    /// Upper case. `GET` implies `HEAD`, and every route answers `OPTIONS`. `*` matches any method, those two
    /// included. Older hosts take `*` for a literal method that nobody sends, so list the usual methods beside it.
    pub methods: &'static [&'static str],
    /// Who may call it.
    pub class: Class,
}

impl Route {
    /// A route at `path` for these methods.
    pub const fn new(path: &'static str, methods: &'static [&'static str], class: Class) -> Self {
        Self { path, methods, class }
    }
}

impl From<Route> for RawRoute {
    fn from(route: Route) -> Self {
        Self {
            path: route.path.into(),
            methods: route.methods.iter().map(|method| (*method).into()).collect(),
            class: route.class as u8,
        }
    }
}
