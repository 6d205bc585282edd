# SPDX-License-Identifier: Apache-2.0
"""The catalogue of extensions: read and validate it, and solve what an image gets."""

from __future__ import annotations

from ansible_collections.aza.pg.plugins.module_utils.catalog.loading import load_catalog, load_manifest
from ansible_collections.aza.pg.plugins.module_utils.catalog.model import Catalog, Extension, Manifest
from ansible_collections.aza.pg.plugins.module_utils.catalog.solver import Selection, solve

__all__ = ["Catalog", "Extension", "Manifest", "Selection", "load_catalog", "load_manifest", "solve"]
