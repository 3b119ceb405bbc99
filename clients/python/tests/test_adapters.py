"""What the adapters do beyond a shop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from typing import Any

import pytest
from flask import Flask, jsonify, session
from service import Service
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from sessman import AsyncSessionManager, SessionManager
from sessman.flask import current_session, init_app
from sessman.starlette import SessmanMiddleware, session_manager
from sessman.starlette import current_session as session_of

View = Callable[[Request], Awaitable[JSONResponse]]


def starlette(view: View, service: Service, **options: Any) -> TestClient:
    """Return a client of an application with one view."""

    async def whoami(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_json(session_of(socket).user_id)

    manager = AsyncSessionManager(**service.options)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with manager:
            yield

    routes = [Route("/", view), WebSocketRoute("/whoami", whoami)]
    application = Starlette(routes=routes, lifespan=lifespan)
    application.add_middleware(SessmanMiddleware, manager=manager, **options)
    return TestClient(application)


def test_a_websocket_has_the_session_of_its_page() -> None:
    async def log_in(request: Request) -> JSONResponse:
        session_of(request).log_in("ada")
        return JSONResponse({})

    with Service() as service, starlette(log_in, service, secure=False) as browser:
        with browser.websocket_connect("/whoami") as socket:
            assert socket.receive_json() is None
        browser.get("/")
        with browser.websocket_connect("/whoami") as socket:
            assert socket.receive_json() == "ada"
        service.stop()
        with pytest.raises(WebSocketDisconnect) as closed, browser.websocket_connect("/whoami"):
            pass
        assert closed.value.code == 1013


def test_the_middleware_names_and_places_its_cookie(service: Service) -> None:
    async def begin(request: Request) -> JSONResponse:
        request.session["seen"] = True
        return JSONResponse({})

    options = {"cookie": "PS_SESSID", "path": "/shop", "domain": "shop.example", "same_site": "strict", "secure": True}
    with starlette(begin, service, **options) as browser:
        text = browser.get("/").headers["set-cookie"]
    assert text.startswith("PS_SESSID=")
    for part in ["Domain=shop.example", "HttpOnly", "Path=/shop", "SameSite=strict", "Secure"]:
        assert part in text


def test_a_view_reaches_the_manager(service: Service) -> None:
    async def devices(request: Request) -> JSONResponse:
        visitor = session_of(request)
        if visitor.record is None:
            visitor.log_in("devi")
            return JSONResponse([])
        own = await session_manager(request).get_own_sessions(visitor.record)
        return JSONResponse([each.current for each in own])

    with starlette(devices, service, secure=False) as browser:
        assert browser.get("/").json() == []
        assert browser.get("/").json() == [True]


def test_a_user_who_logs_in_may_be_a_whole_number(service: Service) -> None:
    async def log_in(request: Request) -> JSONResponse:
        visitor = session_of(request)
        before = visitor.user_id
        visitor.log_in(42)
        return JSONResponse([before, visitor.user_id])

    with starlette(log_in, service, secure=False) as browser:
        assert browser.get("/").json() == [None, "42"]
        assert browser.get("/").json() == ["42", "42"]


def test_without_the_middleware_the_mistake_is_named() -> None:
    scope = {"type": "http", "headers": []}
    for helper in (session_of, session_manager):
        with pytest.raises(RuntimeError, match="add SessmanMiddleware"):
            helper(Request(scope))


def test_a_session_that_ends_while_a_request_runs_stays_ended(service: Service, manager: SessionManager) -> None:
    async def slow(request: Request) -> JSONResponse:
        record = session_of(request).record
        if record is not None:
            await asyncio.to_thread(manager.end_session, record)
        request.session["late"] = record is not None
        return JSONResponse({})

    with starlette(slow, service, secure=False) as browser:
        begun = browser.get("/").cookies["session"]
        answer = browser.get("/")
    assert "set-cookie" not in answer.headers, "a login in another request may have set a new one"
    assert not manager.is_session_active(begun)


def test_a_change_inside_of_a_member_and_of_a_kind_is_seen(service: Service, manager: SessionManager) -> None:
    async def change(request: Request) -> JSONResponse:
        member = request.session.setdefault("deep", {"list": [1]})
        member["list"].append(True if len(member["list"]) > 1 else 1)
        request.session["flag"] = request.session.get("flag") == 1 or 1
        return JSONResponse({})

    with starlette(change, service, secure=False) as browser:
        session_id = browser.get("/").cookies["session"]
        assert manager.get_session(session_id).data == {"deep": {"list": [1, 1]}, "flag": 1}
        browser.get("/")
        data = manager.get_session(session_id).data
    assert data == {"deep": {"list": [1, 1, True]}, "flag": True}
    assert data["flag"] is True


def test_an_unchanged_session_is_not_written(service: Service, manager: SessionManager) -> None:
    async def look(request: Request) -> JSONResponse:
        request.session.setdefault("seen", [])
        return JSONResponse({})

    with starlette(look, service, secure=False) as browser:
        session_id = browser.get("/").cookies["session"]
        assert "set-cookie" not in browser.get("/").headers
    assert manager.get_session(session_id).version == 1


def test_data_without_names_are_not_overwritten(service: Service, manager: SessionManager) -> None:
    async def add(request: Request) -> JSONResponse:
        request.session["seen"] = True
        return JSONResponse({})

    foreign = manager.create_session(data=[1, 2])
    with starlette(add, service) as browser, pytest.raises(Exception, match="no object"):
        browser.get("/", headers={"Cookie": f"session={foreign.session_id}"})
    assert manager.get_session(foreign).data == [1, 2]


def test_a_new_id_without_a_login(manager: SessionManager) -> None:
    application = Flask(__name__)
    init_app(application, manager)

    @application.get("/")
    def view() -> Any:
        session["n"] = session.get("n", 0) + 1
        current_session().rotate()
        return jsonify(session["n"])

    with application.test_client() as browser:
        ids = []
        for number in range(1, 4):
            assert browser.get("/").json == number
            cookie = browser.get_cookie("session")
            assert cookie is not None
            ids.append(cookie.value)
    assert [manager.is_session_active(each) for each in ids] == [False, False, True]


NO_DATA = ["x" * 300_000, float("nan"), datetime.now(timezone.utc)]


@pytest.mark.parametrize("value", NO_DATA)
def test_starlettes_cookie_is_right_after_a_write_that_failed(
    service: Service, manager: SessionManager, value: Any
) -> None:
    async def log_in(request: Request) -> JSONResponse:
        session_of(request).log_in("ada")
        request.session["kept"] = value
        return JSONResponse({})

    begun = manager.create_session()
    with starlette(log_in, service, secure=False) as browser:
        browser.cookies.set("session", begun.session_id)
        browser._transport.raise_server_exceptions = False
        answer = browser.get("/")
    assert answer.status_code == 500
    current = answer.cookies.get("session", begun.session_id)
    assert manager.is_session_active(current)


@pytest.mark.parametrize("value", NO_DATA)
def test_flasks_cookie_is_right_after_a_write_that_failed(manager: SessionManager, value: Any) -> None:
    application = Flask(__name__)
    init_app(application, manager)

    @application.get("/")
    def view() -> Any:
        current_session().log_in("ada")
        session["kept"] = value
        return jsonify()

    begun = manager.create_session()
    with application.test_client() as browser:
        browser.set_cookie("session", begun.session_id)
        assert browser.get("/").status_code == 500
        cookie = browser.get_cookie("session")
    assert cookie is not None
    assert manager.is_session_active(cookie.value)


def test_flask_is_obeyed_about_its_cookie(manager: SessionManager) -> None:
    application = Flask(__name__)
    application.config.update(
        SESSION_COOKIE_NAME="PS_SESSID",
        SESSION_COOKIE_PATH="/shop",
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_COOKIE_SECURE=True,
    )
    init_app(application, manager)

    @application.get("/shop/")
    def view() -> Any:
        session.permanent = True
        return jsonify()

    text = application.test_client().get("/shop/").headers["Set-Cookie"]
    for part in ["PS_SESSID=", "HttpOnly", "Path=/shop", "SameSite=Strict", "Secure", "Expires="]:
        assert part in text
