"""Running gateways, a store each, for Intercom's official clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.postgres import empty_database
from tests.web.conftest import running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.conftest import Server


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway over each store."""
    folder = tmp_path_factory.mktemp("gateway")
    if request.param == "sqlite":
        with running_gateway(folder) as running:
            yield running
        return
    with (
        empty_database(request.getfixturevalue("postgres_server")) as url,
        running_gateway(folder, store_url=url) as running,
    ):
        yield running
