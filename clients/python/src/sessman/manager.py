"""The two clients: one that waits, one that awaits. Both send what `calls` says."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from functools import wraps
from http.cookiejar import CookieJar, DefaultCookiePolicy
from inspect import signature
from time import sleep
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar, get_args

import httpx

from .calls import Answer, Calls, Flow, Request
from .errors import SessmanError, UnavailableError

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=Callable[..., Any])
Self = TypeVar("Self", bound="_Connection")

_ENVIRONMENT: list[tuple[str, str, Callable[[str], Any]]] = [
    ("base_url", "SESSMAN_URL", str),
    ("api_key", "SESSMAN_KEY", str),
    ("admin_key", "SESSMAN_ADMIN_KEY", str),
    ("timeout", "SESSMAN_TIMEOUT", float),
]

# What a header can carry. httpx would show the rest of a key in its error.
_KEY = re.compile(r"[!-~]+")

DEFAULT_URL = "http://localhost:6123/sessman"


def _waiting(
    call: Callable[Concatenate[Calls, P], Flow[T]],
) -> Callable[Concatenate["SessionManager", P], T]:
    @wraps(call)
    def method(self: "SessionManager", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run(call(self.calls, *args, **kwargs))

    return _told(call, method)


def _awaiting(
    call: Callable[Concatenate[Calls, P], Flow[T]],
) -> Callable[Concatenate["AsyncSessionManager", P], Awaitable[T]]:
    @wraps(call)
    async def method(self: "AsyncSessionManager", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.run(call(self.calls, *args, **kwargs))

    return _told(call, method)


def _told(call: Callable[..., Any], method: M) -> M:
    """Let `help` say what a caller gets, and not by which way."""
    told = signature(call)
    result = get_args(told.return_annotation)[-1]
    method.__signature__ = told.replace(return_annotation=result)  # type: ignore[attr-defined]
    return method


class _Connection:
    """What both clients have: where the service is, and what every request carries."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        admin_key: str | None,
        ttl_seconds: int | None,
        timeout: float,
    ) -> None:
        url = httpx.URL(base_url)
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("base_url: expected http://host:port/sessman or the same with https")
        if url.userinfo or url.query:
            raise ValueError("base_url: keys do not belong in it; use api_key and admin_key")
        for name, key in (("api_key", api_key), ("admin_key", admin_key)):
            if key is not None and not _KEY.fullmatch(key):
                raise ValueError(f"{name}: expected a key without spaces")
        self._url = url
        self.calls = Calls(admin_key, ttl_seconds)
        self._options: dict[str, Any] = {
            "base_url": url,
            "headers": {} if api_key is None else {"Authorization": f"Bearer {api_key}"},
            # The cookie of one session must not be sent with the calls for another.
            "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            "timeout": timeout,
            # The authorities are not read, which takes longer than a call, where nobody asks for them.
            "verify": url.scheme == "https",
        }

    @classmethod
    def from_environment(cls: type[Self]) -> Self:
        """Take what is set of `SESSMAN_URL`, `SESSMAN_KEY`, `SESSMAN_ADMIN_KEY` and `SESSMAN_TIMEOUT`."""
        options: dict[str, Any] = {}
        for option, name, read in _ENVIRONMENT:
            if os.environ.get(name):
                options[option] = read(os.environ[name])
        return cls(**options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._url)!r})"

    def _failed(self, error: httpx.TransportError) -> SessmanError:
        return UnavailableError(f"no answer from {self._url}: {type(error).__name__}")


class SessionManager(_Connection):
    """Keeps sessions in the service that `base_url` names, the instance's mount. Threads may share one.

    `api_key` is the instance's key, `admin_key` opens the calls for administrators, `ttl_seconds` is how long sessions
    live that do not say it themselves, `timeout` how many seconds a call waits for the network. A `transport` of httpx
    serves for a Unix socket or for certificates of one's own.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        admin_key: str | None = None,
        ttl_seconds: int | None = None,
        timeout: float = 5.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(base_url, api_key, admin_key, ttl_seconds, timeout)
        self._http = httpx.Client(**self._options, transport=transport)

    def run(self, flow: Flow[T]) -> T:
        """Run a call to its end."""
        try:
            request = next(flow)
            while True:
                request = flow.send(self._exchange(request))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _exchange(self, request: Request) -> Answer:
        if request.pause:
            sleep(request.pause)
        try:
            answer = self._http.request(request.method, request.route, content=request.body, headers=request.headers)
        except httpx.TransportError as error:
            raise self._failed(error) from error
        return Answer(answer.status_code, answer.headers, answer.content)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    create_session = _waiting(Calls.create_session)
    get_session = _waiting(Calls.get_session)
    validate_session = _waiting(Calls.validate_session)
    is_session_active = _waiting(Calls.is_session_active)
    update_session = _waiting(Calls.update_session)
    patch_session = _waiting(Calls.patch_session)
    change_session = _waiting(Calls.change_session)
    touch_session = _waiting(Calls.touch_session)
    rotate_session = _waiting(Calls.rotate_session)
    end_session = _waiting(Calls.end_session)
    invalidate_session = _waiting(Calls.invalidate_session)
    get_own_sessions = _waiting(Calls.get_own_sessions)
    end_own_session = _waiting(Calls.end_own_session)
    end_other_sessions = _waiting(Calls.end_other_sessions)
    list_sessions = _waiting(Calls.list_sessions)
    get_user_sessions = _waiting(Calls.get_user_sessions)
    end_user_sessions = _waiting(Calls.end_user_sessions)
    get_session_stats = _waiting(Calls.get_session_stats)
    get_session_count = _waiting(Calls.get_session_count)
    cleanup_expired_sessions = _waiting(Calls.cleanup_expired_sessions)
    clear_all_sessions = _waiting(Calls.clear_all_sessions)


class AsyncSessionManager(_Connection):
    """`SessionManager` for asyncio: the same calls, to be awaited."""

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        admin_key: str | None = None,
        ttl_seconds: int | None = None,
        timeout: float = 5.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(base_url, api_key, admin_key, ttl_seconds, timeout)
        self._http = httpx.AsyncClient(**self._options, transport=transport)

    async def run(self, flow: Flow[T]) -> T:
        """Run a call to its end."""
        try:
            request = next(flow)
            while True:
                request = flow.send(await self._exchange(request))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _exchange(self, request: Request) -> Answer:
        if request.pause:
            await asyncio.sleep(request.pause)
        try:
            answer = await self._http.request(
                request.method, request.route, content=request.body, headers=request.headers
            )
        except httpx.TransportError as error:
            raise self._failed(error) from error
        return Answer(answer.status_code, answer.headers, answer.content)

    async def aclose(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    create_session = _awaiting(Calls.create_session)
    get_session = _awaiting(Calls.get_session)
    validate_session = _awaiting(Calls.validate_session)
    is_session_active = _awaiting(Calls.is_session_active)
    update_session = _awaiting(Calls.update_session)
    patch_session = _awaiting(Calls.patch_session)
    change_session = _awaiting(Calls.change_session)
    touch_session = _awaiting(Calls.touch_session)
    rotate_session = _awaiting(Calls.rotate_session)
    end_session = _awaiting(Calls.end_session)
    invalidate_session = _awaiting(Calls.invalidate_session)
    get_own_sessions = _awaiting(Calls.get_own_sessions)
    end_own_session = _awaiting(Calls.end_own_session)
    end_other_sessions = _awaiting(Calls.end_other_sessions)
    list_sessions = _awaiting(Calls.list_sessions)
    get_user_sessions = _awaiting(Calls.get_user_sessions)
    end_user_sessions = _awaiting(Calls.end_user_sessions)
    get_session_stats = _awaiting(Calls.get_session_stats)
    get_session_count = _awaiting(Calls.get_session_count)
    cleanup_expired_sessions = _awaiting(Calls.cleanup_expired_sessions)
    clear_all_sessions = _awaiting(Calls.clear_all_sessions)
