"""A shop in FastAPI: a cart for everybody, a page for those who are logged in."""

from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI

from sessman import AsyncSessionManager
from sessman.starlette import SessmanMiddleware, current_session, require_user, session_manager
from sessman.web import WebSession

Visitor = Annotated[WebSession, Depends(current_session)]
User = Annotated[WebSession, Depends(require_user)]

application = FastAPI()
application.add_middleware(
    SessmanMiddleware,
    manager=AsyncSessionManager.from_environment(),
)


@application.get("/cart")
async def cart(session: Visitor) -> dict[str, Any]:
    """Show the cart."""
    return {"cart": session.get("cart", [])}


@application.post("/cart")
async def add(session: Visitor, item: Annotated[str, Body(embed=True)]) -> dict[str, Any]:
    """Put something into it."""
    session.setdefault("cart", []).append(item)
    return await cart(session)


@application.post("/login")
async def login(session: Visitor, user: Annotated[str, Body(embed=True)]) -> dict[str, Any]:
    """Log in; a real shop asks for a password here."""
    session.log_in(user)
    return await me(session)


@application.get("/me")
async def me(session: User) -> dict[str, Any]:
    """Say who is logged in."""
    return {"user": session.user_id}


@application.get("/devices")
async def devices(
    session: User, manager: Annotated[AsyncSessionManager, Depends(session_manager)]
) -> list[dict[str, Any]]:
    """Say where the user is logged in."""
    assert session.record is not None
    own = await manager.get_own_sessions(session.record)
    return [{"current": each.current, **each.metadata} for each in own]


@application.post("/logout")
async def logout(session: Visitor) -> dict[str, Any]:
    """End the session."""
    session.log_out()
    return {"ok": True}


@application.get("/about")
async def about() -> dict[str, Any]:
    """Answer without a look at the session."""
    return {"about": "a shop"}
