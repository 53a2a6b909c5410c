"""`python -m gateway` is the command `gateway`."""

from __future__ import annotations

from gateway.cli import main

if __name__ == "__main__":  # workers are spawned, and import this module under another name
    main()
