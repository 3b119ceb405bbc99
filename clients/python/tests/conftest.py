"""What the tests share."""

from collections.abc import Iterator

import pytest
from service import Service

from sessman import SessionManager


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """Return a service for tests that do not count its sessions."""
    with Service() as service:
        yield service


@pytest.fixture
def manager(service: Service) -> Iterator[SessionManager]:
    """Return a client of it with all keys."""
    with SessionManager(**service.options) as manager:
        yield manager
