# SPDX-License-Identifier: Apache-2.0
"""The stack on a real engine."""
