"""An API that each session may call five times a minute."""

import os
import time
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse

from sessman import AsyncSessionManager, NotFoundError, UnavailableError

LIMIT = 5
WINDOW = 60.0

app = FastAPI()
sessions = AsyncSessionManager.from_environment()


def counted(data: dict[str, Any]) -> dict[str, Any]:
    """Add one call to what the session has used up, or refuse it."""
    now = time.time()
    rate = data.get("rate", {"since": now, "calls": 0})
    ends = rate["since"] + WINDOW
    if now >= ends:
        rate = {"since": now, "calls": 0}
    elif rate["calls"] >= LIMIT:
        raise HTTPException(429, "too many calls", {"Retry-After": str(int(ends - now) + 1)})
    return {**data, "rate": {**rate, "calls": rate["calls"] + 1}}


async def within_limit(x_session_id: Annotated[str, Header()]) -> int:
    """Guard a route; return how many calls are left. However many come at once, each is counted."""
    try:
        session = await sessions.change_session(x_session_id, counted)
    except NotFoundError:
        raise HTTPException(401, "no such session") from None
    return LIMIT - int(session["rate"]["calls"])


@app.exception_handler(UnavailableError)
async def away(request: Request, error: UnavailableError) -> JSONResponse:  # noqa: ARG001
    """Refuse what cannot be counted."""
    return JSONResponse({"detail": "try again"}, 503, {"Retry-After": str(round(error.retry_after))})


@app.post("/sessions", status_code=201)
async def begin() -> dict[str, str]:
    """Begin a session; `new_rate` of the service limits how often."""
    return {"session_id": (await sessions.create_session()).session_id}


@app.get("/quote")
async def quote(left: Annotated[int, Depends(within_limit)]) -> dict[str, Any]:
    """Answer something that is worth a limit."""
    return {"quote": "Well begun is half done.", "left": left}


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), log_level="warning")
