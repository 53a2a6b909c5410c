"""A messenger's back end that verifies nothing: whose conversation it is says the gateway, in `X-Contact-Id` alone.

To try it, in this folder:

    gateway keys generate messenger && gateway db migrate
    uvicorn messenger:app --port 9000 & gateway serve
    gateway token issue --user-id ada

and paste the token into the page at http://127.0.0.1:8080/. Nobody but the gateway may reach port 9000.
"""

from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

PAGE = (Path(__file__).parent / "messenger.html").read_bytes()
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

conversations = {}  # contact id -> messages
listeners = {}  # contact id -> open sockets


async def page(_request):
    return Response(PAGE, media_type="text/html", headers=HEADERS)


async def messages(request):
    """What was said so far, for those who poll."""
    contact_id = request.headers["x-contact-id"]
    conversation = conversations.get(contact_id, [])
    return JSONResponse({"contact": contact_id, "messages": conversation}, headers={"Cache-Control": "no-store"})


async def live(socket):
    """What was said so far, then every message of this person's, whichever of their windows it comes from."""
    contact_id = socket.headers["x-contact-id"]
    conversation = conversations.setdefault(contact_id, [])
    others = listeners.setdefault(contact_id, set())
    await socket.accept()
    others.add(socket)
    try:
        for message in list(conversation):
            await socket.send_json(message)
        while True:
            await say(contact_id, "visitor", (await socket.receive_text())[:2000])
            if len(conversation) == 1:
                await say(contact_id, "team", "Thank you for writing to us. Somebody will be with you in a moment.")
    except WebSocketDisconnect:
        pass
    finally:
        others.discard(socket)


async def say(contact_id, author, text):
    message = {"author": author, "text": text}
    conversations[contact_id].append(message)
    for socket in list(listeners[contact_id]):
        try:
            await socket.send_json(message)
        except (WebSocketDisconnect, RuntimeError):  # it closed at this very moment
            listeners[contact_id].discard(socket)


app = Starlette(routes=[Route("/", page), Route("/chat/messages", messages), WebSocketRoute("/chat/live", live)])
