# SPDX-License-Identifier: Apache-2.0
"""What every scenario asserts in the same way: run a playbook, compare a host with itself, look for secrets."""
