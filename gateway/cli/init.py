"""`gateway init`: a configuration for production to begin with, and the keyring that it needs."""

from __future__ import annotations

import os
import time
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from gateway.cli.commands import AsJson, examples, group
from gateway.cli.configuration import DEFAULT_CONFIG
from gateway.cli.output import WRONG_USE, CommandFailed, say, say_json
from gateway.settings import is_name, load_settings
from gateway.trust import trusted_issuers
from keys.keyring_file import change_keyring
from keys.rotation import added, new_entry, new_material

app = group()

_TEMPLATE = """\
# The gateway's configuration. `gateway config check` names every problem, `gateway config show` what it comes to.
#
# Over this file stands the environment: GATEWAY_PUBLIC__BIND=0.0.0.0:8080 sets public.bind, and
# GATEWAY_WORKSPACES__{upper}__ISSUERS__0__KEYRING=/run/secrets/messenger.json reaches into a list.
# Files are named relative to the folder of this file. An unknown key is an error.

workers = 1              # processes; each takes about one core
drain_seconds = 30       # how long requests under way may take when the gateway stops
log_level = "info"       # debug, info, warning, error

[public]                 # for clients: logins, /auth
bind = "127.0.0.1:8080"
default_workspace = "{app_id}"
# trusted_proxies = ["10.0.0.0/8"]         # whose X-Forwarded-* is believed; nobody's by default

[public.headers]         # the names under which an identity travels to your application
contact_id = "X-Contact-Id"
user_id = "X-User-Id"
user_email = "X-User-Email"

[admin]                  # for operators and your back end; never route it to the world
bind = "127.0.0.1:8081"

[store]                  # a relative SQLite path is relative to the working directory
url = "sqlite:///var/contacts.db"
# url_file = "secrets/store-url"           # for postgresql://user:password@host/database

# What one client may take, counted over all workers: so many at once, and as many again in that time. Behind a proxy,
# name it in public.trusted_proxies first: else everybody has the proxy's address.
# [limits]
# per_contact = "120/minute"
# per_address = "600/minute"               # good and bad requests; IPv6 by its /64
# per_workspace = "60000/minute"           # proven requests alone
# connections = 10000                      # of clients, for each worker; half-open ones give way
# connections_per_address = 500

# A signed word to your application about who it is, beside the headers: X-Identity-Assertion (60 s). Its key is made by
# `gateway keys generate assertion`; the public half stands in /.well-known/jwks.json.
# [assertion]
# keyring = "secrets/{app_id}-assertion.json"
# issuer = "https://gateway.example.com"   # nobody else's iss
# audience = "https://chat.example.com"    # your application; a route may name another one

[workspaces.{app_id}]    # the key is the app_id
email_conflict = "flag"       # a new user_id whose email is somebody else's: flag, reject or allow
first_sight = "create"        # a user_id that nobody has: create or reject
archived_login = "restore"    # the login of an archived contact: restore or reject
email_fallback = true         # without a user_id, a proven email takes its place
# extra_placeholders = ["visitor"]         # ids that mean nobody here, beside the built-in list
# exempt_placeholders = ["test"]           # ids on that list that are somebody here
alarm_emails = 3              # so many emails on one user_id ...
alarm_window = 86400          # ... within so many seconds raise an alarm

# Messenger style: your back end signs with a shared secret (HS256); exp is optional, there is no iss and no aud.
[[workspaces.{app_id}.issuers]]
name = "messenger"
profile = "intercom"
production = true             # `gateway token issue` never signs with its secrets
keyring = "secrets/{name}"    # `gateway keys list`, `rotate messenger`, `retire messenger` ...
# In its place you may name files of your own: a list `secrets` of {{ id, secret_file, platforms }}.
# require_exp = true          # ask for an expiry all the same
# max_lifetime = 86400        # and for a near one, which asks for an expiry, too

# An identity provider with its own keys. Nothing has a default here: say what it signs, with what and for whom.
# [[workspaces.{app_id}.issuers]]
# name = "login"
# profile = "oidc"
# production = true
# issuer = "https://login.example.com"
# audience = ["messenger"]
# algorithms = ["ES256"]
# jwks_url = "https://login.example.com/jwks.json"   # or discovery = true, or jwks_file, or a keyring of your own
# user_id_claim = "sub"
# email_authoritative = false   # true: an email that it signs is proven, also without email_verified
# custom_attributes = ["plan"]  # claims that become custom attributes

# Whom nothing proves: on refuses them; report lets them pass as nobody and counts, off lets them pass.
# [workspaces.{app_id}.enforcement]
# web = "report"

# The reverse proxy: what lies below a prefix goes to your application. Times in seconds.
# [[workspaces.{app_id}.routes]]
# prefix = "/chat/"
# upstream = "http://127.0.0.1:9000"       # or a list; https with ca_file = "..." for authorities of your own
# access = "required"                      # optional: without a token as nobody; public: nobody is asked
# host = "chat.example.com"                # for requests to this host alone
# cookie = "session"                       # a cookie in which the token may come, as a browser's WebSocket needs
# origins = ["https://www.example.com"]    # other sites whose pages may open a WebSocket with that cookie
# keep_token = false                       # true: your application sees the token
# max_connections = 1024                   # to each upstream from each worker; an event stream holds one
# connect_timeout = 5
# first_byte_timeout = 60
# idle_timeout = 3600
"""


@app.command(
    epilog=examples("gateway init --app-id acme", "gateway init --config /etc/gateway/gateway.toml --app-id acme")
)
def init(
    config: Annotated[Path, typer.Option("--config", "-c", help="The file to write.")] = DEFAULT_CONFIG,
    app_id: Annotated[str, typer.Option(help="The app_id of the workspace.")] = "acme",
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there, the keyring too.")] = False,  # noqa: FBT002
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """Write a commented gateway.toml for production and the keyring that it names (mode 0600), with one secret."""
    if not is_name(app_id):
        raise CommandFailed("an app_id has letters, digits, dashes, dots and underscores", exit_code=WRONG_USE)
    name = f"{app_id}-messenger.json"
    path = config.parent / "secrets" / name
    standing = [str(one) for one in (config, path) if one.exists()]
    if standing and not force:
        raise CommandFailed(
            f"{' and '.join(standing)} would be overwritten",
            hint="--force overwrites; tokens signed with the old secret are then refused",
        )
    quoted = f'"{app_id}"' if "." in app_id else app_id
    text = _TEMPLATE.replace("workspaces.{app_id}", "workspaces.{quoted}").format(
        app_id=app_id, quoted=quoted, upper=app_id.upper(), name=name
    )
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(text, encoding="utf-8")
    path.unlink(missing_ok=True)  # late: an old secret is lost with it
    now = int(time.time())
    material = new_material("HS256", os.urandom)
    keyring = change_keyring(path, lambda empty: added(empty, new_entry(empty, "HS256", material, now), now), expect=0)
    trusted_issuers(load_settings(config, {}))  # what was written is good
    kid = keyring.keys[0].kid
    if as_json:
        say_json({"config": str(config), "keyring": str(path), "kid": kid})
        return
    options = "" if config == DEFAULT_CONFIG else f" --config {config}"
    say(
        f"wrote {config}",
        f"wrote {path}: the secrets of your messenger, at first one, called {kid}",
        f"next: gateway keys export messenger --private {kid} --output FILE{options}, for the back end that signs",
        f"then: gateway db migrate --config {config}, and gateway serve --config {config}",
    )
