"""The same shop in each framework, used as a browser uses it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.cookiejar import CookieJar, DefaultCookiePolicy
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from time import sleep
from typing import Any

import httpx
import pytest
from service import PATIENCE, Service

from sessman import SessionManager

SHOPS = ["flask_app", "fastapi_app", "django_app", "django_asgi_app"]
SERVE = Path(__file__).parent / "apps" / "serve.py"


@pytest.fixture(scope="module", params=SHOPS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def service(name: str) -> Iterator[Service]:  # noqa: ARG001
    """Return a service for each shop, the last test of which stops it."""
    with Service() as service:
        yield service


@pytest.fixture(scope="module")
def shop(name: str, service: Service) -> Iterator[str]:
    command = [sys.executable, os.fspath(SERVE), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=service.environment) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("listening on "), line
            yield line.split()[-1]
        finally:
            process.kill()


@pytest.fixture
def browser(shop: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shop, timeout=PATIENCE) as browser:
        yield browser


def cookie(answer: httpx.Response) -> Morsel[str]:
    """Return the one cookie that an answer sets."""
    (text,) = answer.headers.get_list("set-cookie")
    (morsel,) = SimpleCookie(text).values()
    return morsel


def items(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()["cart"]


def test_a_visitor_fills_a_cart_logs_in_with_it_and_logs_out(browser: httpx.Client, manager: SessionManager) -> None:
    assert browser.get("/me").status_code == 401
    assert items(browser.get("/cart")) == []
    assert not browser.cookies, "who has nothing to keep needs no session"

    visitor = cookie(browser.post("/cart", json={"item": "tea"})).value
    assert items(browser.post("/cart", json={"item": "jam"})) == ["tea", "jam"]
    assert manager.get_session(visitor).user_id is None

    answer = browser.post("/login", json={"user": "ada"})
    assert answer.json() == {"user": "ada"}
    user = cookie(answer).value
    assert user != visitor
    assert not manager.is_session_active(visitor), "the id from before the login is dead"
    stored = manager.get_session(user)
    assert stored.user_id is not None
    assert stored["cart"] == ["tea", "jam"], "the data are plain JSON, for others to read"
    assert stored.handle in [each.handle for each in manager.get_user_sessions(stored.user_id)]
    assert stored.metadata["client_ip"] == "127.0.0.1"
    assert stored.metadata["user_agent"].startswith("python-httpx/")
    assert browser.get("/me").json() == {"user": "ada"}
    assert items(browser.get("/cart")) == ["tea", "jam"]

    gone = cookie(browser.post("/logout"))
    assert gone.value == ""
    assert gone["max-age"] == "0"
    assert not manager.is_session_active(user)
    assert browser.get("/me").status_code == 401
    assert items(browser.get("/cart")) == []


def test_another_user_in_the_same_browser_finds_nothing_of_the_first(
    browser: httpx.Client, manager: SessionManager
) -> None:
    first = cookie(browser.post("/login", json={"user": "ada"})).value
    browser.post("/cart", json={"item": "tea"})
    assert browser.post("/login", json={"user": "eve"}).json() == {"user": "eve"}
    assert items(browser.get("/cart")) == []
    assert not manager.is_session_active(first)


def test_the_cookie_has_the_flags_that_it_should_have(browser: httpx.Client) -> None:
    answer = browser.post("/cart", json={"item": "tea"})
    local = cookie(answer)
    assert local["httponly"]
    assert local["samesite"].lower() == "lax"
    assert local["path"] == "/"
    assert not local["secure"], "over http on this machine"
    assert "Cookie" in answer.headers["vary"]
    browser.cookies.clear()
    far = browser.post("/cart", json={"item": "tea"}, headers={"Host": "shop.example"})
    assert cookie(far)["secure"]


def test_a_cookie_that_was_tampered_with_is_none(browser: httpx.Client, manager: SessionManager) -> None:
    session_id = cookie(browser.post("/cart", json={"item": "tea"})).value
    last = "A" if session_id[-1] != "A" else "B"
    stranger = httpx.Client(
        base_url=browser.base_url, timeout=PATIENCE, cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    )
    for forged in [session_id[:-1] + last, "x" * 48, "a b", "%0d%0aX-Admin-Key: x", "\u00e9" * 48, "x" * 3000, ""]:
        header = {b"Cookie": f"session={forged}; sessionid={forged}".encode()}
        answer = stranger.get("/cart", headers=header)
        assert items(answer) == [], forged
        assert stranger.get("/me", headers=header).status_code == 401
        begun = stranger.post("/cart", json={"item": "jam"}, headers=header)
        assert items(begun) == ["jam"]
        assert cookie(begun).value != forged, "an id of the client's making is not taken up"
    stranger.close()
    assert manager.get_session(session_id)["cart"] == ["tea"]


def test_a_session_that_ended_is_none_and_stays_ended(browser: httpx.Client, manager: SessionManager) -> None:
    browser.post("/login", json={"user": "ada"})
    session_id = next(iter(browser.cookies.values()))
    manager.end_session(session_id)
    assert browser.get("/me").status_code == 401
    assert not manager.is_session_active(session_id)


def test_what_others_change_at_the_same_time_is_kept(browser: httpx.Client, manager: SessionManager) -> None:
    session_id = cookie(browser.post("/cart", json={"item": "tea"})).value

    def change(number: int) -> None:
        if number % 2:
            answer = browser.post("/cart", json={"item": "jam"})
            assert answer.status_code == 200, answer.text
        else:
            manager.patch_session(session_id, {f"note-{number}": number})

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(change, range(24)))
    stored = manager.get_session(session_id).data
    assert len([name for name in stored if name.startswith("note-")]) == 12
    assert len(stored["cart"]) > 1


def test_an_expired_session_is_none(browser: httpx.Client, manager: SessionManager) -> None:
    browser.post("/cart", json={"item": "tea"})
    (name,) = browser.cookies
    expired = manager.create_session("ada", {"cart": ["jam"]}, ttl_seconds=1)
    while manager.is_session_active(expired):
        sleep(0.05)
    browser.cookies.clear()
    browser.cookies.set(name, expired.session_id)
    assert items(browser.get("/cart")) == []
    assert browser.get("/me").status_code == 401


def test_while_the_service_is_away_answers_are_503(browser: httpx.Client, service: Service) -> None:
    assert browser.post("/login", json={"user": "ada"}).status_code == 200
    service.stop()
    for answer in [
        browser.get("/me"),
        browser.get("/cart"),
        browser.post("/login", json={"user": "ada"}),
    ]:
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) >= 1
        assert "set-cookie" not in answer.headers, "the session may be there again in a moment"
    browser.cookies.clear()
    assert browser.get("/about").status_code == 200, "who has no session notices nothing"
    assert browser.post("/cart", json={"item": "tea"}).status_code == 503
