"""Sessions of Flask: `flask.session` is kept in the service, and read when a view first looks at it."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from flask import Flask, Request, Response, abort, jsonify, request, session
from flask.sessions import SessionInterface, SessionMixin
from werkzeug.wrappers import Response as BaseResponse

from .errors import SessmanError
from .manager import SessionManager
from .web import TRY_LATER, WebSession, is_secure, metadata_of, retry_after

__all__ = ["FlaskSession", "SessmanSessionInterface", "current_session", "init_app", "require_user"]

P = ParamSpec("P")
T = TypeVar("T")


class FlaskSession(WebSession, SessionMixin):
    """`flask.session`. With `permanent` its cookie ends with the session, not with the browser."""

    accessed = False

    def __init__(self, manager: SessionManager, session_id: str | None, metadata: dict[str, Any]) -> None:
        super().__init__(manager.calls, session_id, metadata)
        self._manager = manager
        self._is_loaded = False

    def _access(self) -> None:
        self.accessed = True
        if not self._is_loaded:
            self._manager.run(self.load())
            self._is_loaded = True

    def write(self) -> None:
        """Write what the request changed; nothing if it did not look at the session."""
        if self._is_loaded:
            self._manager.run(self.save())


class SessmanSessionInterface(SessionInterface):
    """Takes the cookie's name, path, domain and SameSite from `SESSION_COOKIE_...` of the application.

    It is always `HttpOnly`, and `Secure` unless the request is http to this machine.
    """

    def __init__(self, manager: SessionManager) -> None:
        self._manager = manager

    def open_session(self, app: Flask, request: Request) -> FlaskSession:
        """Return the session of a request."""
        presented = request.cookies.get(self.get_cookie_name(app))
        metadata = metadata_of(request.remote_addr, request.headers.get("User-Agent"))
        return FlaskSession(self._manager, presented, metadata)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Write the session and set the cookie. While the service is away, the answer becomes a 503."""
        visit = cast(FlaskSession, session)
        try:
            visit.write()
        except TRY_LATER as error:
            refusal = _refusal(error)
            response.status_code = 503
            response.headers.clear()
            response.headers.extend(refusal.headers)
            response.set_data(refusal.get_data())
            # An id that is already new must reach the client: the old one is dead. Nothing else is known.
            if visit._record is None:
                return
        except SessmanError:
            # So must it with the page that Flask shows for an error: it comes here again with that one.
            if visit._record is not None:
                self._set_cookie(app, visit, response)
            raise
        self._set_cookie(app, visit, response)

    def _set_cookie(self, app: Flask, visit: FlaskSession, response: Response) -> None:
        if visit.accessed:
            response.vary.add("Cookie")
        value = visit.cookie if visit._is_loaded else None
        if value is None:
            return
        response.set_cookie(
            self.get_cookie_name(app),
            value,
            max_age=None if value else 0,
            expires=visit._record.expires_at if visit._record and visit.permanent else None,
            path=self.get_cookie_path(app),
            domain=self.get_cookie_domain(app),
            secure=self.get_cookie_secure(app) or is_secure(request.scheme, request.host),
            httponly=True,
            samesite=self.get_cookie_samesite(app) or "Lax",
        )
        response.headers.setdefault("Cache-Control", "no-store")


def init_app(app: Flask, manager: SessionManager) -> None:
    """Let the application keep its sessions in the service, and answer 503 while that is away."""
    app.session_interface = SessmanSessionInterface(manager)
    for kind in TRY_LATER:
        app.register_error_handler(kind, _refusal)


def current_session() -> FlaskSession:
    """Return `flask.session` as what it is, for `log_in`, `log_out` and `user_id`."""
    return cast(FlaskSession, session._get_current_object())  # type: ignore[attr-defined]


def require_user(view: Callable[P, T]) -> Callable[P, T]:
    """Guard a view: who is not logged in gets a 401."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        if current_session().user_id is None:
            abort(401, "log in first")
        return view(*args, **kwargs)

    return guarded


def _refusal(error: SessmanError) -> BaseResponse:
    response = jsonify(detail="sessions are not available; try again")
    response.status_code = 503
    response.headers["Retry-After"] = retry_after(error)
    return response
