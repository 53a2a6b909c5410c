"""A WSGI application without any framework. A proxy in front of it asks the gateway, and tells who it is in headers."""


def application(environ, start_response):
    user_id = environ.get("HTTP_X_USER_ID")
    start_response("200 OK" if user_id else "403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
    return [f"Hello {user_id}".encode() if user_id else b"Who are you?"]
