"""A user sees where they are logged in, and signs out there."""

import os
from typing import Annotated, Any

import uvicorn
from fastapi import Body, Depends, FastAPI, HTTPException

from sessman import AsyncSessionManager, NotFoundError, Session
from sessman.starlette import SessmanMiddleware, current_session, require_user
from sessman.web import WebSession

app = FastAPI()
sessions = AsyncSessionManager.from_environment()
app.add_middleware(SessmanMiddleware, manager=sessions)


def own_session(session: Annotated[WebSession, Depends(require_user)]) -> Session:
    """Return the session of the user who asks."""
    if session.record is None:
        raise HTTPException(401, "log in first")
    return session.record


@app.post("/login")
async def login(
    session: Annotated[WebSession, Depends(current_session)], name: Annotated[str, Body(embed=True)]
) -> dict[str, str]:
    """Begin the user's session; ../web-login shows how to ask for a password."""
    session.log_in(name)
    return {"hello": name}


@app.get("/devices")
async def devices(own: Annotated[Session, Depends(own_session)]) -> list[dict[str, Any]]:
    """Show where the user is logged in."""
    return [
        {"device": each.metadata.get("user_agent"), "this": each.current, "handle": each.handle}
        for each in await sessions.get_own_sessions(own)
    ]


@app.post("/devices/{handle}/sign-out")
async def sign_out(own: Annotated[Session, Depends(own_session)], handle: str) -> dict[str, int]:
    """Sign out on one of them."""
    try:
        await sessions.end_own_session(own, handle)
    except NotFoundError:
        raise HTTPException(404, "no such device") from None
    return {"signed_out": 1}


@app.post("/sign-out-others")
async def sign_out_others(own: Annotated[Session, Depends(own_session)]) -> dict[str, int]:
    """Sign out everywhere but here."""
    return {"signed_out": await sessions.end_other_sessions(own)}


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), log_level="warning")
