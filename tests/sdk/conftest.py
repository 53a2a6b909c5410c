"""Running gateways, one over each store, for Intercom's official clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.web.conftest import STORES, gateway_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.conftest import Server


@pytest.fixture(scope="module", params=STORES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway over each store."""
    with gateway_on(request.param, request, tmp_path_factory.mktemp("gateway")) as running:
        yield running
