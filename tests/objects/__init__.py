# SPDX-License-Identifier: Apache-2.0
"""What a server holds, case by case, on a real one."""
