"""Rejections as answers of a Starlette or FastAPI application: 503 with Retry-After."""

from __future__ import annotations

import math
from typing import overload

from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.status import HTTP_503_SERVICE_UNAVAILABLE, WS_1013_TRY_AGAIN_LATER
from starlette.websockets import WebSocket, WebSocketState

__all__ = ["rejected_handler"]


@overload
async def rejected_handler(request: Request, error: Exception) -> Response: ...
@overload
async def rejected_handler(request: WebSocket, error: Exception) -> None: ...
async def rejected_handler(request: HTTPConnection, error: Exception) -> Response | None:
    """Answer a request that was rejected further inside.

    ``app.add_exception_handler(RejectedError, rejected_handler)``. The answer is a 503 with
    ``Retry-After`` in whole seconds, at least 1 (1 where nobody knows), and a small body of
    ``application/problem+json`` (RFC 9457). It says nothing of the dependency: neither its
    name nor its last failure is for the public. A websocket is closed with the code 1013,
    "try again later".
    """
    if isinstance(request, WebSocket):
        await _close(request)
        return None
    retry_after: float | None = getattr(error, "retry_after", None)
    seconds = 1 if retry_after is None else max(1, math.ceil(retry_after))
    problem = {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": HTTP_503_SERVICE_UNAVAILABLE,
        "detail": f"A dependency is unavailable. Try again in {seconds} s.",
    }
    return JSONResponse(
        problem,
        HTTP_503_SERVICE_UNAVAILABLE,
        headers={"Retry-After": str(seconds)},
        media_type="application/problem+json",
    )


async def _close(websocket: WebSocket) -> None:
    gone = WebSocketState.DISCONNECTED
    if gone not in (websocket.client_state, websocket.application_state):
        await websocket.close(WS_1013_TRY_AGAIN_LATER, "a dependency is unavailable")
