# SPDX-License-Identifier: Apache-2.0
"""The details of changes that more than one package makes or reads."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change, Detail


@dataclass(frozen=True)
class FileDetail(Detail):
    """``path``: in the instance's directory; empty for the directory itself."""

    path: str


@dataclass(frozen=True)
class ServiceDetail(Detail):
    """``service``: the name of the service that an image is for."""

    service: str


@dataclass(frozen=True)
class ContainerDetail(Detail):
    """``compose``: whether compose.yml, which waited with this change, is written with it."""

    service: str
    compose: bool = False


@dataclass(frozen=True)
class SettingDetail(Detail):
    """``value``: what the inventory's file sets; None removes it from there."""

    value: str | None


@dataclass(frozen=True)
class ResetDetail(Detail):
    """A value of ALTER SYSTEM is removed."""


def path_of(change: Change) -> str | None:
    """Return the path of the file that a change writes or removes, None if it is not about a file."""
    return change.detail.path if isinstance(change.detail, FileDetail) else None
