# SPDX-License-Identifier: Apache-2.0
"""Ask a server for the certificate that it shows its clients, as a client does: over the published port."""

from __future__ import annotations

import socket
import ssl
import struct

from ansible_collections.aza.pg.plugins.module_utils.model.service import ContainerSpec
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_SECONDS = 3


def fingerprint(service: ContainerSpec) -> str:
    """Empty if there is no answer, or none with TLS."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(service.publish_address, service.publish_address)
    # Whether it is the right one is compared afterwards; here it is only inspected, with no authority to be loaded.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((address, service.port), _SECONDS) as plain:
            plain.sendall(_SSL_REQUEST)
            if plain.recv(1) != b"S":
                return ""
            with context.wrap_socket(plain) as secure:
                return tls.fingerprint(secure.getpeercert(binary_form=True) or b"")
    except (OSError, ssl.SSLError):
        return ""
