# SPDX-License-Identifier: Apache-2.0
"""The members of the clusters; deploys of the whole inventory as it is declared by now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from support.instances import Instance
from support.playbooks import Run


@pytest.fixture(scope="session")
def shop(instances: dict[str, Instance]) -> dict[str, Instance]:
    """All members, whatever they are at the moment."""
    return {name: found for name, found in instances.items() if found.cluster == "shop"}


@pytest.fixture(scope="session")
def blog(instances: dict[str, Instance]) -> Instance:
    """The other cluster, on the host of one of the members."""
    return instances["azatest-db3-blog"]


@pytest.fixture(scope="session")
def declared() -> dict[str, Any]:
    """What tests have changed in the inventory of the cluster shop, for those that come after them."""
    return {}


@pytest.fixture(scope="session")
def deploy(playbook: Callable[..., Run], declared: dict[str, Any]) -> Callable[..., Run]:
    """``deploy("--check")``: the cluster shop, with what was declared since."""

    def run(*words: str, extra: dict[str, Any] | None = None, **more: Any) -> Run:
        return playbook("deploy.yml", *words, extra=declared | (extra or {}), limit=["shop"], **more)

    return run
