#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: findings_table
short_description: Print the findings of all hosts, and write them as reports
version_added: 0.1.0
author: aza-pg maintainers (@aza-pg)
description:
  - Takes what M(aza.pg.stack) with O(aza.pg.stack#module:state=checked) left in C(stack_result) of each host of the
    play that has a C(postgres_cluster), prints it instance by instance, worst first, with one line for the fleet, and
    fails when anything is red.
  - A host without a result could not be looked at, which is red as well.
  - Of several instances only the names of what is well are printed; with C(-v) and in the reports each stands in full.
options:
  report_html:
    description:
      - File on the control node for the findings as one HTML page. It needs no network and no script.
      - Relative to the working directory. Empty writes none.
    type: str
    default: ""
  report_json:
    description: File on the control node for the findings as JSON, with the whole plan of each instance.
    type: str
    default: ""
attributes:
  check_mode:
    description: Changes nothing on a host, so check mode is the same. Reports are written.
    support: full
  diff_mode:
    description: Nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Print the findings of the fleet
  aza.pg.findings_table:
    report_html: fleet.html
  run_once: true
"""

RETURN = r"""
red:
  description: How many findings are red.
  returned: always
  type: int
summary:
  description: The line for the fleet.
  returned: always
  type: str
"""

# The work is done by the action plugin of the same name, on the control node.
