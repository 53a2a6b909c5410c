"""A small Starlette application: `request.user` is the person whom the gateway verified."""

from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway import IdentityMiddleware, create_authenticator


@requires("authenticated")
async def whoami(request):
    return JSONResponse({"contact_id": request.user.contact.id, "user_id": request.user.principal.user_id})


def create_app(config="gateway.toml"):
    return Starlette(
        routes=[Route("/whoami", whoami)],
        middleware=[Middleware(IdentityMiddleware, authenticator=create_authenticator(config))],
    )
