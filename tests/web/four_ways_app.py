"""What `test_four_ways.py` runs under uvicorn: an application with the middleware, and the gateway's own one beside it.

`FOUR_WAYS_CONFIG` names the configuration of both.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from gateway import IdentityMiddleware, create_authenticator
from gateway.app import Gateway
from gateway.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

config = Path(os.environ["FOUR_WAYS_CONFIG"])
authenticator = create_authenticator(config)
gateway = Gateway(load_settings(config, {}))


async def whoami(request: Request) -> Response:
    """Answer with who asks, and with the headers that the application sees."""
    contact_id = request.user.contact.id if request.user.is_authenticated else None
    return JSONResponse({"contact_id": contact_id, "headers": request.headers.items()})


def guarded(path: str, *, platform: str | None = None, optional: bool = False) -> Mount:
    """`whoami` behind the middleware."""
    middleware = Middleware(IdentityMiddleware, authenticator=authenticator, platform=platform, optional=optional)
    methods = ["GET", "POST"]
    return Mount(path, routes=[Route("/whoami", whoami, methods=methods)], middleware=[middleware])


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    """The gateway's store is open while it serves, and that of the middleware, which a mount does not close."""
    await gateway.authenticator.open()
    yield
    await gateway.authenticator.close()
    if authenticator.is_open:
        await authenticator.close()


app = Starlette(
    routes=[
        guarded("/app/maybe", optional=True),
        guarded("/app/web", platform="web"),
        guarded("/app"),
        Mount("/", app=gateway.public),
    ],
    lifespan=lifespan,
)
