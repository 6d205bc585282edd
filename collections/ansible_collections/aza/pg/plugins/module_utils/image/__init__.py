# SPDX-License-Identifier: Apache-2.0
"""Image supply, on the control node: lock, render, build.

``source`` reads where packages come from, ``apt`` asks the archive, ``lock`` keeps its answer, ``render`` turns
catalogue + lock + templates into a build context, ``base`` and ``build`` turn that into images.
"""
