"""Sessions as the service shows them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, TypedDict, TypeVar

Info = TypeVar("Info", bound="SessionInfo")

_TIMES = ("auth_time", "created_at", "updated_at", "last_activity", "expires_at")


@dataclass(frozen=True, kw_only=True)
class SessionInfo:
    """A session as lists show it: without its id and its data. Times are in UTC."""

    handle: str
    """Its public name, which opens nothing."""
    user_id: str | None
    """Whose it is; `None` for a visitor who has not logged in."""
    metadata: dict[str, Any] = field(repr=False)
    """What is known of the client: `client_ip`, `user_agent`, and what the caller gave."""
    auth_time: datetime | None
    """When its user logged in."""
    created_at: datetime
    updated_at: datetime
    last_activity: datetime
    expires_at: datetime
    version: int
    """Grows with every change of data or user."""
    current: bool = False
    """Among the sessions of a user, the one that asked for them."""

    @classmethod
    def read(cls: type[Info], members: Mapping[str, Any], **more: Any) -> Info:
        """Read it from an answer; members that are not known here are left out."""
        values = {**members, **more}
        known = {each.name: values[each.name] for each in fields(cls) if each.name in values}
        for name in _TIMES:
            known[name] = _time(known.get(name))
        return cls(**known)


@dataclass(frozen=True, kw_only=True)
class Session(SessionInfo):
    """A session. `session["cart"]` is short for `session.data["cart"]`."""

    session_id: str = field(repr=False)
    """The key to it: whoever has it is the session."""
    data: Any = field(repr=False)
    """Any JSON value, an object in most cases."""
    etag: str = field(repr=False)
    """What `if_match` takes, so that a change is made only to what was read."""

    def __getitem__(self, name: str) -> Any:
        """Return a member of the data."""
        return self.data[name]


class SessionStats(TypedDict):
    """How many sessions there are."""

    total_sessions: int
    active_sessions: int
    expired_sessions: int
    """Records that are past their time and still stored."""
    by_age: list[dict[str, int | None]]


def _time(text: str | None) -> datetime | None:
    # Python 3.10 does not read the Z.
    return None if text is None else datetime.fromisoformat(text.replace("Z", "+00:00"))
