"""A visitor's session during one request: what the adapters for web frameworks share."""

import json
import math
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from .calls import Calls, Flow, to_json, user_text
from .errors import NotFoundError, RateLimitError, SessmanError, UnavailableError
from .session import Session

TRY_LATER = (UnavailableError, RateLimitError)
"""What a web application answers with 503 and `Retry-After`."""

_MAX_USER_AGENT = 512


class WebSession(MutableMapping[str, Any]):
    """The data of a visitor's session as a mapping; it is written when the request has been answered.

    What two requests change at the same time is kept of both, unless it is the same member. A session that ended
    meanwhile stays ended.
    """

    def __init__(self, calls: Calls, session_id: str | None, metadata: dict[str, Any]) -> None:
        self._calls = calls
        self._presented = session_id
        self._metadata = metadata
        self._record: Session | None = None
        self._data: dict[str, Any] = {}
        self._ends = False
        self._rotates = False
        self._logs_in: str | None = None
        self.accessed = False
        """Whether the answer depends on the session."""

    @property
    def user_id(self) -> str | None:
        """Whose session it is; `None` for a visitor who has not logged in."""
        self._access()
        if self._logs_in is not None or self._ends:
            return self._logs_in
        return self._record.user_id if self._record else None

    @property
    def record(self) -> Session | None:
        """The session as it is stored: as it was read, or once the request is answered, as it was written."""
        self._access()
        return self._record

    def log_in(self, user_id: str | int) -> None:
        """Make it the session of this user, under a new id. A visitor's data stay, another user's do not."""
        user_id = user_text(user_id)
        if self.user_id not in (None, user_id):
            self.log_out()
        self._logs_in = user_id

    def log_out(self) -> None:
        """End the session. What is put into it afterwards begins another one."""
        self._access()
        self._data.clear()
        self._ends, self._logs_in = True, None

    def rotate(self) -> None:
        """Give the session another id."""
        self._access()
        self._rotates = True

    def _access(self) -> None:
        self.accessed = True

    # What the adapters call.

    def load(self) -> Flow[None]:
        """Read the session that the client presented. One that does not live is none."""
        if self._presented is None:
            return
        record = yield from self._calls.validate_session(self._presented)
        if record is not None:
            if not isinstance(record.data, dict):
                raise SessmanError("the data of this session are no object; an adapter keeps named members")
            self._keep(record)

    def save(self) -> Flow[None]:
        """Write what the request changed."""
        try:
            if self._ends and self._record is not None:
                record, self._record = self._record, None
                yield from self._calls.end_session(record)
            if self._record is not None:
                yield from self._change(self._record)
                return
        except NotFoundError:
            # It ended while the request ran. A logout in another window holds, whatever this request wanted.
            self._record = None
            if not self._ends:
                return
        if self._data or self._logs_in is not None:
            created = self._calls.create_session(self._logs_in, self._data, metadata=self._metadata)
            self._keep((yield from created))

    def _change(self, record: Session) -> Flow[None]:
        texts = texts_of(record.data)
        if self._rotates or self._logs_in is not None:
            # What is no JSON is refused while the id of before is still the right one.
            texts_of(self._data)
            # First, so that what only the user may see is never behind the id of before.
            self._record = record = yield from self._calls.rotate_session(record, self._logs_in)
            self._rotates, self._logs_in = False, None
        self._record = yield from write(self._calls, record, texts, self._data)

    def _keep(self, record: Session) -> None:
        self._record = record
        # A copy, so that a change inside of a member can be told from what was read.
        self._data = json.loads(json.dumps(record.data))

    @property
    def cookie(self) -> str | None:
        """What the cookie is to be: the id, an empty text to clear it, or `None` if it stays as it is."""
        if self._record is None:
            # One that ended otherwise is left to the client: another request may have set a new cookie meanwhile.
            return "" if self._ends and self._presented is not None else None
        return None if self._record.session_id == self._presented else self._record.session_id

    # The mapping.

    def __getitem__(self, name: str) -> Any:
        self._access()
        return self._data[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._access()
        self._data[name] = value

    def __delitem__(self, name: str) -> None:
        self._access()
        del self._data[name]

    def __iter__(self) -> Iterator[str]:
        self._access()
        return iter(self._data)

    def __len__(self) -> int:
        self._access()
        return len(self._data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._record!r})"


def write(calls: Calls, record: Session, texts: Mapping[str, str], data: Mapping[str, Any]) -> Flow[Session]:
    """Write the members of `data` that are not as they were in `texts` into the session, and no other."""
    now = texts_of(data)
    changed = {name: data[name] for name, text in now.items() if texts.get(name) != text}
    removed = texts.keys() - now.keys()
    if not changed and not removed:
        return record

    def change(stored: dict[str, Any]) -> dict[str, Any]:
        return {**{name: value for name, value in stored.items() if name not in removed}, **changed}

    return (yield from calls.change_session(record, change))


def texts_of(data: Mapping[str, Any]) -> dict[str, str]:
    """Return each member as JSON: what to compare later values with, in which `1` and `True` differ."""
    return {name: to_json(value).decode() for name, value in data.items()}


def metadata_of(client_ip: str | None, user_agent: str | None) -> dict[str, Any]:
    """Return what is known of a client, without what is not."""
    known = {"client_ip": client_ip, "user_agent": (user_agent or "")[:_MAX_USER_AGENT]}
    return {name: value for name, value in known.items() if value}


def retry_after(error: SessmanError) -> str:
    """Return what goes into `Retry-After`: whole seconds, one at least."""
    return str(max(1, math.ceil(getattr(error, "retry_after", 1.0))))


def is_secure(scheme: str, host: str) -> bool:
    """Return whether a cookie is to be `Secure`: always, but over http on this machine, where browsers work without."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    return scheme in ("https", "wss") or name not in ("localhost", "127.0.0.1", "[::1]")
