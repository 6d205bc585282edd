# SPDX-License-Identifier: Apache-2.0
"""What all unit tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# How long an example takes says more about a busy machine than about the code. And every run gets the same examples,
# so that a failure is never luck; `HYPOTHESIS_PROFILE=explore make test-unit` looks for new ones.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
