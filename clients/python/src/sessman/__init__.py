"""Client of the sessman session service.

- `SessionManager` and `AsyncSessionManager`: every route of the service as a method.
- `Session`: a session as it was read.
- `SessmanError` and what is below it: why a call did not do what it was asked for.
- `sessman.django`, `sessman.flask`, `sessman.starlette`: the sessions of these frameworks, kept by the service.
"""

from .errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RateLimitError,
    ServerError,
    SessmanError,
    UnauthorizedError,
    UnavailableError,
    ValidationError,
    VersionConflictError,
)
from .manager import AsyncSessionManager, SessionManager
from .session import Session, SessionInfo, SessionStats

__all__ = [
    "AsyncSessionManager",
    "ConflictError",
    "ForbiddenError",
    "NotFoundError",
    "RateLimitError",
    "ServerError",
    "Session",
    "SessionInfo",
    "SessionManager",
    "SessionStats",
    "SessmanError",
    "UnauthorizedError",
    "UnavailableError",
    "ValidationError",
    "VersionConflictError",
]
