# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from ansible_collections.aza.pg.plugins.module_utils.server.predefined import predefined


def test_a_version_has_the_roles_of_those_before_it() -> None:
    assert "pg_maintain" in predefined(17) and "pg_maintain" not in predefined(16)
    assert set(predefined(17)) < set(predefined(18)) <= set(predefined())
    assert list(predefined(18)) == sorted(predefined(18))
