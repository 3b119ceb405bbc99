"""Why a call did not do what it was asked for. No message has an id or a key in it."""

from collections.abc import Mapping


class SessmanError(Exception):
    """The service refused or failed; `status` is its HTTP status, `None` if there was no answer."""

    def __init__(self, detail: str, status: int | None = None) -> None:
        super().__init__(detail)
        self.status = status


class NotFoundError(SessmanError):
    """No live session has this id or handle: it is unknown, ended, expired, or another user's."""


class ConflictError(SessmanError):
    """What is there does not go with what was asked for: a limit of sessions, another user, an id in use."""


class VersionConflictError(ConflictError):
    """The session has changed since it was read; read it again and repeat the change."""


class UnauthorizedError(SessmanError):
    """The key is missing or wrong."""


class ForbiddenError(SessmanError):
    """Nobody may do this here: there is no `admin_key`, or a login that is open to all is not allowed."""


class ValidationError(SessmanError):
    """What was sent is malformed, too large, or cannot be stored."""


class _TryLaterError(SessmanError):
    def __init__(self, detail: str, status: int | None = None, retry_after: float = 1.0) -> None:
        super().__init__(detail, status)
        self.retry_after = retry_after
        """Seconds after which it is worth another try."""


class RateLimitError(_TryLaterError):
    """Sessions begin faster than `new_rate` allows, or wrong keys were tried."""


class UnavailableError(_TryLaterError):
    """The service or its store is away. What was asked for may or may not have been done."""


class ServerError(SessmanError):
    """The service failed; its log says why."""


_BY_STATUS: dict[int, type[SessmanError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    412: VersionConflictError,
    400: ValidationError,
    405: ValidationError,
    413: ValidationError,
    415: ValidationError,
    422: ValidationError,
    428: ValidationError,
    429: RateLimitError,
    500: ServerError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


def error_of(status: int, detail: str, headers: Mapping[str, str]) -> SessmanError:
    """Return the error that an answer means."""
    kind = _BY_STATUS.get(status, SessmanError)
    if issubclass(kind, _TryLaterError):
        try:
            return kind(detail, status, float(headers.get("retry-after", "")))
        except ValueError:
            pass
    return kind(detail, status)
