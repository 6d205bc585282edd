#!/bin/bash
# Copy our own files into the image with the same modes on every machine: a checkout's umask must not reach the image.
#   install-rootfs.sh DIR       executables become 0755, everything else 0644
set -euo pipefail
umask 022
cd "${1:?directory to copy}"
find . -mindepth 1 -type d -exec mkdir -p /{} \;
find . -type f -perm -u+x -exec install -m 0755 {} /{} \;
find . -type f -not -perm -u+x -exec install -m 0644 {} /{} \;
