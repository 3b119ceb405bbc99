//! A plugin's routes.

use crate::abi::plugin::RawRoute;

/// Who may call a route. The host checks the key for [`Class::Service`]; for the others it says in
/// [`Request::caller`](crate::Request::caller) whether there was one, and the plugin decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// Anyone.
    Public = 0,
    /// Who has the instance's key, if it has one.
    Service = 1,
    /// Who has the key, or a live session as far as the plugin allows.
    Session = 2,
    /// Who has the plugin's own key for administrators.
    Admin = 3,
    /// A reverse proxy that asks about another request, whose `Authorization` is not meant for this service: a key
    /// counts only in `X-Custom-Auth`. A body that the request announces is that one's, too, and is not read.
    ForwardAuth = 4,
}

impl Class {
    /// The class that a number stands for; an unknown one is `None`.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Public, Self::Service, Self::Session, Self::Admin, Self::ForwardAuth]
            .get(usize::from(number))
            .copied()
    }
}

/// One route of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Relative to the mount, without a leading slash; a `*` at the end stands for anything.
    pub path: &'static str,
    /// Upper case. `HEAD` comes with `GET`, and `OPTIONS` with every route. `*` stands for any method, those two included; a
    /// host of before it takes it for one that nobody sends, so that the usual ones stand beside it.
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
