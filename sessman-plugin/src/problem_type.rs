//! The types of problems (RFC 9457), by which programs tell them apart.

/// The type of a problem. docs/troubleshooting.md describes each one, too, with its remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProblemType {
    /// A parameter or the body is invalid; `error` names it.
    MalformedRequest,
    /// The request needs the API key.
    KeyRequired,
    /// The request needs the `admin_key` in `X-Admin-Key`.
    AdminKeyRequired,
    /// The request carries no session id.
    NoSessionId,
    /// The session of the cookie has ended: log in again.
    SessionEnded,
    /// No user is logged in with this request.
    NotLoggedIn,
    /// The cookies name more than one live session: log out, and log in again.
    AmbiguousCookies,
    /// A cross-site request that uses or would set the session cookie (CSRF).
    CrossSite,
    /// There is no `admin_key`, so nobody may use the route.
    AdminDisabled,
    /// There is no API key, so sessions prove nothing: set one, or `allow_open_login`.
    OpenLogin,
    /// A session with an `external_id` can be changed and rotated only with the API key.
    ExternalIdNeedsKey,
    /// No live session has this id: unknown, expired, ended, or of another user.
    SessionNotFound,
    /// There is no such route.
    NoRoute,
    /// The user has `max_sessions_per_user` live sessions already: end one first.
    LimitReached,
    /// The session belongs to another user, and cannot be reassigned: create one.
    OtherUser,
    /// A live session has this `external_id`.
    ExternalIdTaken,
    /// More sessions match than `at_most`, so none was ended.
    TooManyMatch,
    /// Concurrent changes of the session won every retry: retry later.
    Contended,
    /// The session's version does not match `If-Match`: read it again.
    VersionMismatch,
    /// `data` or `metadata` is larger than `max_data_bytes`.
    TooLarge,
    /// A compressed body: send it as it is.
    UnsupportedCoding,
    /// JSON that not every store can hold.
    NotStorable,
    /// An update needs `If-Match` here.
    VersionRequired,
    /// More sessions are created than `new_rate` allows; `Retry-After` says when to try again.
    TooManySessions,
    /// The store refuses to work; the log has the reason.
    StoreUnusable,
    /// The store is unreachable: retry.
    StoreUnavailable,
    /// The store is full: free some space.
    StoreFull,
    /// Written, but not yet on `wait_replicas` replicas.
    NotReplicated,
    /// The instance is not active yet, or stopped.
    InstanceInactive,
    /// Too many clients watch the events.
    TooManyWatchers,
}

impl ProblemType {
    /// All of them.
    pub(crate) const ALL: [Self; 30] = [
        Self::MalformedRequest,
        Self::KeyRequired,
        Self::AdminKeyRequired,
        Self::NoSessionId,
        Self::SessionEnded,
        Self::NotLoggedIn,
        Self::AmbiguousCookies,
        Self::CrossSite,
        Self::AdminDisabled,
        Self::OpenLogin,
        Self::ExternalIdNeedsKey,
        Self::SessionNotFound,
        Self::NoRoute,
        Self::LimitReached,
        Self::OtherUser,
        Self::ExternalIdTaken,
        Self::TooManyMatch,
        Self::Contended,
        Self::VersionMismatch,
        Self::TooLarge,
        Self::UnsupportedCoding,
        Self::NotStorable,
        Self::VersionRequired,
        Self::TooManySessions,
        Self::StoreUnusable,
        Self::StoreUnavailable,
        Self::StoreFull,
        Self::NotReplicated,
        Self::InstanceInactive,
        Self::TooManyWatchers,
    ];

    fn definition(self) -> (u16, &'static str) {
        match self {
            Self::MalformedRequest => (400, "urn:sessman:problem:malformed-request"),
            Self::KeyRequired => (401, "urn:sessman:problem:key-required"),
            Self::AdminKeyRequired => (401, "urn:sessman:problem:admin-key-required"),
            Self::NoSessionId => (401, "urn:sessman:problem:no-session-id"),
            Self::SessionEnded => (401, "urn:sessman:problem:session-ended"),
            Self::NotLoggedIn => (401, "urn:sessman:problem:not-logged-in"),
            Self::AmbiguousCookies => (401, "urn:sessman:problem:ambiguous-cookies"),
            Self::CrossSite => (403, "urn:sessman:problem:cross-site"),
            Self::AdminDisabled => (403, "urn:sessman:problem:admin-disabled"),
            Self::OpenLogin => (403, "urn:sessman:problem:open-login"),
            Self::ExternalIdNeedsKey => (403, "urn:sessman:problem:external-id-needs-key"),
            Self::SessionNotFound => (404, "urn:sessman:problem:session-not-found"),
            Self::NoRoute => (404, "urn:sessman:problem:no-route"),
            Self::LimitReached => (409, "urn:sessman:problem:limit-reached"),
            Self::OtherUser => (409, "urn:sessman:problem:other-user"),
            Self::ExternalIdTaken => (409, "urn:sessman:problem:external-id-taken"),
            Self::TooManyMatch => (409, "urn:sessman:problem:too-many-match"),
            Self::Contended => (409, "urn:sessman:problem:contended"),
            Self::VersionMismatch => (412, "urn:sessman:problem:version-mismatch"),
            Self::TooLarge => (413, "urn:sessman:problem:too-large"),
            Self::UnsupportedCoding => (415, "urn:sessman:problem:unsupported-coding"),
            Self::NotStorable => (422, "urn:sessman:problem:not-storable"),
            Self::VersionRequired => (428, "urn:sessman:problem:version-required"),
            Self::TooManySessions => (429, "urn:sessman:problem:too-many-sessions"),
            Self::StoreUnusable => (500, "urn:sessman:problem:store-unusable"),
            Self::StoreUnavailable => (503, "urn:sessman:problem:store-unavailable"),
            Self::StoreFull => (503, "urn:sessman:problem:store-full"),
            Self::NotReplicated => (503, "urn:sessman:problem:not-replicated"),
            Self::InstanceInactive => (503, "urn:sessman:problem:instance-inactive"),
            Self::TooManyWatchers => (503, "urn:sessman:problem:too-many-watchers"),
        }
    }

    /// The status of its answers.
    pub(crate) fn status(self) -> u16 {
        self.definition().0
    }

    /// Its `type` in a problem document.
    pub(crate) fn uri(self) -> &'static str {
        self.definition().1
    }
}
