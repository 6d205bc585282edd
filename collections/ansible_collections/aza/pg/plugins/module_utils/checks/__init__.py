# SPDX-License-Identifier: Apache-2.0
"""What proves that replication and pooling work: pure judges, and the thin edges that ask the servers."""
