"""Load: wrk on the second core, each request with the next token of a file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from pathlib import Path

_SCRIPT = """
local requests = {}
local at = 0
local session = tonumber(os.getenv("BENCH_SESSION"))
function init(args)
  local path = os.getenv("BENCH_PATH")
  local method = os.getenv("BENCH_METHOD")
  for token in io.lines(os.getenv("BENCH_TOKENS")) do
    requests[#requests + 1] = wrk.format(method, path, { ["Authorization"] = "Bearer " .. token })
  end
  math.randomseed(7)
end
function request()
  at = at + 1
  local index = math.floor(at / session)
  if session > 1 then index = index + math.random(0, 500) end
  return requests[index % #requests + 1]
end
"""


class Rate(Struct, frozen=True):
    """What one round saw."""

    per_second: float
    refused: int


def available() -> bool:
    """Whether wrk is installed."""
    return shutil.which("wrk") is not None


def run(url: str, tokens: Path, *, seconds: int, path: str, method: str, session: int, connections: int = 32) -> Rate:
    """One round. `session` is how often each token comes in a row of requests: 1 makes each request's token new."""
    script = tokens.with_suffix(".lua")
    script.write_text(_SCRIPT)
    environment = os.environ | {
        "BENCH_TOKENS": str(tokens),
        "BENCH_PATH": path,
        "BENCH_METHOD": method,
        "BENCH_SESSION": str(session),
    }
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
    if sys.platform == "linux" and (os.cpu_count() or 1) > 1:
        command = ["taskset", "-c", "1", *command]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if rate is None:
        raise RuntimeError(f"wrk said: {output}")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    return Rate(float(rate.group(1)), int(refused.group(1)) if refused else 0)
