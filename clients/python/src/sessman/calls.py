"""What is asked and how answers are read, without a word about how they travel.

Each call is a generator: it yields a `Request`, is sent the `Answer`, and returns what the caller gets. So the same
call serves clients that wait and clients that await.
"""

import json
import random
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import quote

from .errors import NotFoundError, SessmanError, ValidationError, VersionConflictError, error_of
from .session import Session, SessionInfo, SessionStats

T = TypeVar("T")

_PAGE = 1000
_TRIES = 50
# Seconds that a try waits at most, by chance, for each that failed before it.
_PAUSE = 0.02
# What a header can carry and a session can have as its id.
_ID = re.compile(r"[!-~]{1,256}")


@dataclass(frozen=True)
class Request:
    """What is to be sent."""

    method: str
    route: str
    body: bytes | None = field(default=None, repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    pause: float = 0.0
    """Seconds to wait before."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """Return the body; raise the error that the answer is."""
        try:
            members = json.loads(self.body)
        except ValueError:
            members = None
        if self.status >= 400:
            detail = members.get("error") if isinstance(members, dict) else None
            raise error_of(self.status, detail or f"the service answered {self.status}", self.headers)
        if not isinstance(members, dict):
            raise SessmanError("the answer is none of sessman's; is base_url right?", self.status)
        return members


Flow = Generator[Request, Answer, T]


def user_text(user_id: str | int) -> str:
    """Return a user as the service knows it: a text, of a whole number its digits."""
    if isinstance(user_id, bool) or not isinstance(user_id, str | int):
        raise TypeError("user_id: expected a text or a whole number")
    return str(user_id)


class Calls:
    """The routes of the service. Where a session is asked for, its id serves as well."""

    def __init__(self, admin_key: str | None, ttl_seconds: int | None) -> None:
        self._admin_key = admin_key
        self._ttl_seconds = ttl_seconds

    # One session.

    def create_session(
        self,
        user_id: str | int | None = None,
        data: Any = None,
        *,
        ttl_seconds: int | None = None,
        metadata: dict[str, Any] | None = None,
        external_id: str | None = None,
    ) -> Flow[Session]:
        """Begin a session; without a user it is a visitor's.

        `external_id` is an id of the caller's own making, with 128 random bits in it.
        """
        body = {
            "user_id": None if user_id is None else user_text(user_id),
            "data": data,
            "ttl_seconds": self._ttl_seconds if ttl_seconds is None else ttl_seconds,
            "metadata": metadata,
            "external_id": external_id,
        }
        return _session((yield _post("new", {name: value for name, value in body.items() if value is not None})))

    def get_session(self, session: Session | str, *, user_id: str | int | None = None) -> Flow[Session]:
        """Read a session; with `user_id` only if it is that user's."""
        body = None if user_id is None else {"user_id": user_text(user_id)}
        return _session((yield _post("get", body, session)), session)

    def validate_session(self, session: Session | str, *, user_id: str | int | None = None) -> Flow[Session | None]:
        """Return the session, or `None` if it does not live."""
        try:
            return (yield from self.get_session(session, user_id=user_id))
        except NotFoundError:
            return None

    def is_session_active(self, session: Session | str) -> Flow[bool]:
        """Return whether the session lives, without reading it."""
        try:
            request = _post("validate", None, session)
        except NotFoundError:
            return False
        return bool((yield request).json()["valid"])

    def update_session(self, session: Session | str, data: Any, *, if_match: str | None = None) -> Flow[Session]:
        """Replace the data; with `if_match` only if the session is still the one with that `etag`."""
        request = _post("update", {"data": data, "mode": "replace"}, session, if_match)
        return _session((yield request), session)

    def patch_session(self, session: Session | str, patch: Any, *, if_match: str | None = None) -> Flow[Session]:
        """Merge into the data (RFC 7396): members that are not named stay, `None` removes one."""
        headers = _headers(session, if_match)
        return _session((yield Request("PATCH", "update", to_json(patch), headers)), session)

    def change_session(self, session: Session | str, change: Callable[[Any], Any]) -> Flow[Session]:
        """Replace the data by what `change` makes of them; if others were faster, of theirs.

        `change` may be called several times, and what it raises ends the call. A `Session` is taken for what is there
        until that turns out to be wrong, which saves reading it.
        """
        record = session if isinstance(session, Session) else (yield from self.get_session(session))
        for attempt in range(1, _TRIES + 1):
            try:
                return (yield from self.update_session(record, change(record.data), if_match=record.etag))
            except VersionConflictError:
                # Those who met wait for different times, or they would meet again.
                pause = random.uniform(0, _PAUSE * min(attempt, 10))  # noqa: S311
                record = _session((yield replace(_post("get", None, record), pause=pause)), record)
        raise VersionConflictError("too many others change this session; try again", 412)

    def touch_session(self, session: Session | str) -> Flow[Session]:
        """Let the time to live begin again."""
        return _session((yield _post("touch", None, session)), session)

    def rotate_session(self, session: Session | str, user_id: str | int | None = None) -> Flow[Session]:
        """Give the session another id; with `user_id` that user logs in."""
        body = None if user_id is None else {"user_id": user_text(user_id)}
        return _session((yield _post("rotate", body, session)))

    def end_session(self, session: Session | str) -> Flow[None]:
        """End a session."""
        (yield _post("end", None, session)).json()

    def invalidate_session(self, session: Session | str) -> Flow[bool]:
        """End a session if it lives; return whether it did."""
        try:
            yield from self.end_session(session)
        except NotFoundError:
            return False
        return True

    # The sessions of its user.

    def get_own_sessions(self, session: Session | str) -> Flow[list[SessionInfo]]:
        """Return the sessions of this session's user, of which it is the `current` one."""
        return (yield from _pages("mine", "", _headers(session)))

    def end_own_session(self, session: Session | str, handle: str) -> Flow[None]:
        """End one of the sessions of this session's user."""
        (yield _post("mine/end", {"handle": handle}, session)).json()

    def end_other_sessions(self, session: Session | str) -> Flow[int]:
        """End all other sessions of this session's user; return how many."""
        return int((yield _post("mine/end", {"others": True}, session)).json()["ended"])

    # For administrators, who have the `admin_key`.

    def list_sessions(self) -> Flow[list[SessionInfo]]:
        """Return all sessions."""
        return (yield from _pages("list", "", self._admin()))

    def get_user_sessions(self, user_id: str | int) -> Flow[list[SessionInfo]]:
        """Return the sessions of a user."""
        return (yield from _pages("list", f"&user_id={quote(user_text(user_id), safe='')}", self._admin()))

    def end_user_sessions(self, user_id: str | int) -> Flow[int]:
        """End all sessions of a user; return how many."""
        return int((yield self._admin_post("end-user", {"user_id": user_text(user_id)})).json()["ended"])

    def get_session_stats(self) -> Flow[SessionStats]:
        """Count the sessions."""
        stats = (yield Request("GET", "stats", headers=self._admin())).json()
        return SessionStats(
            total_sessions=stats["total"],
            active_sessions=stats["active"],
            expired_sessions=stats["expired"],
            by_age=stats["by_age"],
        )

    def get_session_count(self) -> Flow[int]:
        """Return how many sessions live."""
        return (yield from self.get_session_stats())["active_sessions"]

    def cleanup_expired_sessions(self) -> Flow[int]:
        """Remove expired records now; return how many."""
        return int((yield self._admin_post("cleanup", {})).json()["purged"])

    def clear_all_sessions(self) -> Flow[int]:
        """End every session of every user; return how many records there were."""
        return int((yield self._admin_post("clear", {"confirm": "yes"})).json()["cleared"])

    def _admin(self) -> dict[str, str]:
        return {} if self._admin_key is None else {"X-Admin-Key": self._admin_key}

    def _admin_post(self, route: str, body: Any) -> Request:
        return Request("POST", route, to_json(body), self._admin())


def _post(route: str, body: Any, session: Session | str | None = None, if_match: str | None = None) -> Request:
    return Request("POST", route, None if body is None else to_json(body), _headers(session, if_match))


def _headers(session: Session | str | None, if_match: str | None = None) -> dict[str, str]:
    headers = {} if if_match is None else {"If-Match": if_match}
    if session is not None:
        session_id = _id(session)
        # It comes from a cookie as often as not, and what a client made up there must not reach the headers.
        if not _ID.fullmatch(session_id):
            raise NotFoundError("no session can have this id")
        headers["X-Session-Id"] = session_id
    return headers


def _id(session: Session | str) -> str:
    return session if isinstance(session, str) else session.session_id


def to_json(value: Any) -> bytes:
    """Return what is sent of a value."""
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise ValidationError(f"only JSON can be sent: {error}") from error


def _session(answer: Answer, session: Session | str | None = None) -> Session:
    """Read an answer that shows a session; it has the id in it only where that is a new one."""
    more = {} if session is None else {"session_id": _id(session)}
    # A proxy that compresses weakens the tag, and a weak one is never matched; the version in it is the right one.
    return Session.read(answer.json(), etag=answer.headers.get("etag", "").removeprefix("W/"), **more)


def _pages(route: str, query: str, headers: dict[str, str]) -> Flow[list[SessionInfo]]:
    found: list[SessionInfo] = []
    cursor = ""
    while True:
        page = (yield Request("GET", f"{route}?limit={_PAGE}{query}{cursor}", headers=headers)).json()
        found += [SessionInfo.read(members) for members in page["sessions"]]
        if page["next"] is None:
            return found
        cursor = f"&cursor={quote(page['next'], safe='')}"
