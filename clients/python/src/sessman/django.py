"""Sessions of Django, kept in the service.

`SESSION_ENGINE = "sessman.django"`, `SESSMAN = {"base_url": ..., "api_key": ...}` with what `SessionManager` takes, and
`sessman.django.SessionMiddleware` in the place of Django's own, which answers 503 while the service is away.

A session belongs to the user who logs in by `django.contrib.auth`, so that it can be listed and ended as that user's.
"""

import json
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import SESSION_KEY as USER_KEY
from django.contrib.sessions.backends.base import SessionBase, UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessionMiddleware
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.exception import response_for_exception
from django.core.signals import setting_changed
from django.http import HttpRequest, HttpResponse, JsonResponse

from .errors import NotFoundError, SessmanError
from .manager import SessionManager
from .session import Session
from .web import TRY_LATER, is_secure, metadata_of, retry_after, texts_of, write

__all__ = ["SessionMiddleware", "SessionStore", "manager"]

# Where a session says for how long it was begun, as the service keeps that to itself.
_TTL = "ttl_seconds"
_EXPIRY = "_session_expiry"


@cache
def manager() -> SessionManager:
    """Return the client that `SESSMAN` describes."""
    return SessionManager(**getattr(settings, "SESSMAN", {}))


def _forget_manager(*, setting: str, **_: Any) -> None:
    if setting == "SESSMAN" and manager.cache_info().currsize:
        manager().close()
        manager.cache_clear()


setting_changed.connect(_forget_manager)


class SessionStore(SessionBase):
    """Django's session: `session_key` is the id of a session of the service, its data are that session's."""

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self._record: Session | None = None
        # The members as this request knew them last, to tell what it changed.
        self._texts: dict[str, str] = {}
        self.client: dict[str, Any] = {}
        """What is known of the client, for a session that begins."""

    def exists(self, session_key: str | None) -> bool:
        """Return whether a live session has this key."""
        return session_key is not None and manager().is_session_active(session_key)

    def load(self) -> dict[str, Any]:
        """Read the session; one that does not live is empty and has no key."""
        record = manager().validate_session(self.session_key) if self.session_key else None
        if record is None or not isinstance(record.data, dict) or self._is_over(record):
            self._record = None
            self._session_key = None
            return {}
        self._keep(record, record.data)
        loaded: dict[str, Any] = self.serializer().loads(json.dumps(record.data).encode())
        return loaded

    def create(self) -> None:
        """Begin a session with what is in this one."""
        self._begin()
        self.modified = True

    def save(self, must_create: bool = False) -> None:
        """Write what was changed; a session that is no longer there is an `UpdateError`."""
        if must_create or self.session_key is None:
            self._begin()
            return
        data = self._json(self._members())
        if self._record is None:
            raise UpdateError
        try:
            self._update(self._record, data)
        except NotFoundError:
            raise UpdateError from None

    def delete(self, session_key: str | None = None) -> None:
        """End the session with this key, or this one."""
        key = session_key or self.session_key
        if key is not None:
            manager().invalidate_session(key)

    def cycle_key(self) -> None:
        """Give the session another id; its data stay."""
        data = self._members()
        if self._record is None:
            self.create()
        else:
            try:
                self._keep(manager().rotate_session(self._record), None)
            except NotFoundError:
                # It ended in another window. Who was logged in with it is not logged in again by this.
                if USER_KEY in data:
                    raise UpdateError from None
                # Who logs in here begins another one.
                self.create()
        self._session_cache = data
        self.modified = True

    async def acycle_key(self) -> None:
        """Give the session another id; its data stay."""
        await sync_to_async(self.cycle_key)()

    @classmethod
    def clear_expired(cls) -> None:
        """Remove expired records now, where there is an `admin_key`; the service does it by itself as well."""
        if getattr(settings, "SESSMAN", {}).get("admin_key"):
            manager().cleanup_expired_sessions()

    def _members(self) -> dict[str, Any]:
        members: dict[str, Any] = self._get_session()  # type: ignore[attr-defined]
        return members

    def _begin(self) -> None:
        data = self._json(getattr(self, "_session_cache", {}))
        self._keep(self._created(_user_id(data), data), data)

    def _created(self, user_id: str | None, data: dict[str, Any]) -> Session:
        ttl = max(1, self._ttl(data))
        metadata = {**self.client, _TTL: ttl}
        return manager().create_session(user_id, data, ttl_seconds=ttl, metadata=metadata)

    def _replace(self, record: Session, data: dict[str, Any]) -> None:
        """Begin another session in the place of one, which stays if that fails."""
        user_id = _user_id(data)
        # Nobody's at first, as those are not counted by max_sessions_per_user: the user's would end the old one, and
        # then a logout meanwhile could not be told from that, or be refused for as long as the old one is there.
        begun = self._created(None, data)
        try:
            manager().end_session(record)
            kept = begun if user_id is None else manager().rotate_session(begun, user_id)
        except SessmanError:
            # The old one ended meanwhile, or nobody knows. What has the login in its data is not left behind.
            with suppress(SessmanError):
                manager().invalidate_session(begun)
            raise
        self._keep(kept, data)

    def _update(self, record: Session, data: dict[str, Any]) -> None:
        user_id, ttl, texts = _user_id(data), self._ttl(data), texts_of(data)
        begun_for = record.metadata.get(_TTL, ttl)
        if isinstance(data.get(_EXPIRY), str):
            # A date comes nearer with every second. What was begun for longer is over by `_is_over`.
            ttl = max(ttl, begun_for)
        # Who logged in elsewhere, in another application that has this session too, is not Django's to log out.
        is_ours = user_id is not None or USER_KEY in self._texts
        if ttl != begun_for or (is_ours and record.user_id not in (None, user_id)):
            # No call changes these two of a session that is there.
            self._replace(record, data)
            return
        if is_ours and record.user_id != user_id:
            record = manager().rotate_session(record, user_id)
            # The old id is dead, whatever becomes of the data.
            self._keep(record, None)
        elif self._texts == texts:
            record = manager().touch_session(record)
        self._keep(manager().run(write(manager().calls, record, self._texts, data)), data)

    def _keep(self, record: Session, data: dict[str, Any] | None) -> None:
        self._record = record
        self._session_key = record.session_id
        if data is not None:
            self._texts = texts_of(data)

    def _ttl(self, data: dict[str, Any]) -> int:
        return int(self.get_expiry_age(expiry=data.get(_EXPIRY)))

    def _is_over(self, record: Session) -> bool:
        expiry = record.data.get(_EXPIRY)
        if isinstance(expiry, str):
            return self._ttl(record.data) <= 0
        return datetime.now(timezone.utc) >= record.last_activity + timedelta(seconds=self._ttl(record.data))

    def _json(self, data: dict[str, Any]) -> dict[str, Any]:
        try:
            plain: dict[str, Any] = json.loads(self.serializer().dumps(data))
        except ValueError as error:
            raise ImproperlyConfigured(
                "SESSION_SERIALIZER: sessman keeps JSON; name a serializer that makes it"
            ) from error
        return plain


class SessionMiddleware(DjangoSessionMiddleware):
    """Django's own, with a 503 and `Retry-After` while the service is away.

    The cookie is `Secure` also without `SESSION_COOKIE_SECURE`, unless the request is http to this machine.
    """

    def process_request(self, request: HttpRequest) -> None:
        """Give the request its session."""
        super().process_request(request)
        store = request.session
        if isinstance(store, SessionStore):
            store.client = metadata_of(request.META.get("REMOTE_ADDR"), request.META.get("HTTP_USER_AGENT"))

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:  # noqa: ARG002
        """Answer for a view that could not read its session."""
        return _refusal(exception) if isinstance(exception, TRY_LATER) else None

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Write the session and set the cookie."""
        try:
            response = super().process_response(request, response)
        except Exception as error:
            if isinstance(error, TRY_LATER):
                response = _refusal(error)
            elif isinstance(error, SessionInterrupted) or not self._has_new_key(request):
                raise
            else:
                response = response_for_exception(request, error)
            if self._has_new_key(request):
                self._set_new_key(request.session, response)
        cookie = response.cookies.get(settings.SESSION_COOKIE_NAME)
        if cookie is not None and cookie.value and is_secure(request.scheme or "", request.get_host()):
            cookie["secure"] = True
        return response

    def _has_new_key(self, request: HttpRequest) -> bool:
        """Return whether the client must get an id although the data were not written: the old one is dead."""
        store = request.session
        known = (None, request.COOKIES.get(settings.SESSION_COOKIE_NAME))
        return isinstance(store, SessionStore) and store.session_key not in known

    def _set_new_key(self, store: SessionBase, response: HttpResponse) -> None:
        response.set_cookie(
            settings.SESSION_COOKIE_NAME,
            store.session_key or "",
            max_age=None if store.get_expire_at_browser_close() else store.get_expiry_age(),
            domain=settings.SESSION_COOKIE_DOMAIN,
            path=settings.SESSION_COOKIE_PATH,
            secure=settings.SESSION_COOKIE_SECURE or False,
            httponly=settings.SESSION_COOKIE_HTTPONLY or False,
            samesite=settings.SESSION_COOKIE_SAMESITE,
        )


def _user_id(data: dict[str, Any]) -> str | None:
    user_id = data.get(USER_KEY)
    return None if user_id is None else str(user_id)


def _refusal(error: SessmanError) -> HttpResponse:
    response = JsonResponse({"detail": "sessions are not available; try again"}, status=503)
    response.headers["Retry-After"] = retry_after(error)
    return response
