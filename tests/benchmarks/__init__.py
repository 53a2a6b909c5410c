"""What the gateway costs, measured against a bare ASGI application on the same server: `make bench`."""
