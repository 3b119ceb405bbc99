"""Sessions of Starlette and FastAPI: a middleware, and dependencies that guard routes.

`request.session` is a `WebSession`. It is read before the application is called, if the client has a cookie, and
written before the answer begins.
"""

from typing import Literal

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import SessmanError
from .manager import AsyncSessionManager
from .web import TRY_LATER, WebSession, is_secure, metadata_of, retry_after

__all__ = ["SessmanMiddleware", "current_session", "require_user", "session_manager"]

# As RFC 6455 has it for a server that is to be asked again later.
_WEBSOCKET_TRY_LATER = 1013


class SessmanMiddleware:
    """Keeps `request.session` in the service. While that is away, clients get a 503.

    `secure` says whether the cookie is `Secure`; unless given it is, but for http on this machine.
    """

    def __init__(
        self,
        app: ASGIApp,
        manager: AsyncSessionManager,
        *,
        cookie: str = "session",
        path: str = "/",
        domain: str | None = None,
        same_site: Literal["lax", "strict", "none"] = "lax",
        secure: bool | None = None,
    ) -> None:
        self.app = app
        self.manager = manager
        self._cookie = cookie
        self._path = path
        self._domain = domain
        self._same_site = same_site
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        client = connection.client.host if connection.client else None
        session = WebSession(
            self.manager.calls,
            connection.cookies.get(self._cookie),
            metadata_of(client, connection.headers.get("user-agent")),
        )
        scope["session"] = session
        scope["sessman"] = self.manager
        began = given_up = False

        async def answer(message: Message) -> None:
            nonlocal began, given_up
            if given_up:
                return
            if message["type"] == "http.response.start":
                try:
                    await self.manager.run(session.save())
                except TRY_LATER as error:
                    given_up = began = True
                    await self._refuse(connection, session, receive, send, error)
                    return
                except SessmanError:
                    # An id that is already new must reach the client: the old one is dead.
                    if session.cookie:
                        given_up = began = True
                        response = PlainTextResponse("Internal Server Error", 500)
                        self._set_cookie(response.headers, connection, session)
                        await response(scope, receive, send)
                    raise
                began = True
                self._set_cookie(MutableHeaders(scope=message), connection, session)
            await send(message)

        try:
            await self.manager.run(session.load())
            await self.app(scope, receive, answer)
        except TRY_LATER as error:
            if began:
                raise
            await self._refuse(connection, session, receive, send, error)

    async def _refuse(
        self, connection: HTTPConnection, session: WebSession, receive: Receive, send: Send, error: SessmanError
    ) -> None:
        if connection.scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _WEBSOCKET_TRY_LATER, "reason": "try again later"})
            return
        response = JSONResponse({"detail": "sessions are not available; try again"}, 503)
        response.headers["Retry-After"] = retry_after(error)
        # An id that is already new must reach the client: the old one is dead.
        if session.record is not None:
            self._set_cookie(response.headers, connection, session)
        await response(connection.scope, receive, send)

    def _set_cookie(self, headers: MutableHeaders, connection: HTTPConnection, session: WebSession) -> None:
        if session.accessed:
            headers.add_vary_header("Cookie")
        value = session.cookie
        if value is None:
            return
        response = Response()
        response.set_cookie(
            self._cookie,
            value,
            max_age=None if value else 0,
            path=self._path,
            domain=self._domain,
            secure=is_secure(connection.url.scheme, connection.url.netloc) if self._secure is None else self._secure,
            httponly=True,
            samesite=self._same_site,
        )
        headers.append("set-cookie", response.headers["set-cookie"])
        headers.setdefault("cache-control", "no-store")


def current_session(connection: HTTPConnection) -> WebSession:
    """Return the visitor's session, as a dependency or by hand."""
    session = connection.scope.get("session")
    if not isinstance(session, WebSession):
        raise RuntimeError("no session; add SessmanMiddleware to the application")
    return session


def require_user(connection: HTTPConnection) -> WebSession:
    """Return the session of a user who is logged in; anybody else gets a 401."""
    session = current_session(connection)
    if session.user_id is None:
        raise HTTPException(401, "log in first")
    return session


def session_manager(connection: HTTPConnection) -> AsyncSessionManager:
    """Return the manager of the middleware, for what is not about the visitor's own data."""
    manager = connection.scope.get("sessman")
    if not isinstance(manager, AsyncSessionManager):
        raise RuntimeError("no session manager; add SessmanMiddleware to the application")
    return manager
