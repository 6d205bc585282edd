#!/bin/bash
# Makes the data in $PGDATA if there is none, and ends without starting the server. As in the official image:
#
#   docker-ensure-initdb.sh [postgres] [server options]    exit status 0 if there is data already (init containers)
#   docker-enforce-initdb.sh [postgres] [server options]   exit status 1 if there is data already (CI, image builds)
# shellcheck source=SCRIPTDIR/docker-entrypoint.sh
source /usr/local/bin/docker-entrypoint.sh

if [[ $# == 0 || $1 != postgres ]]; then set -- postgres "$@"; fi
# shellcheck disable=SC2034 # serve reads it
init_only=yes
serve "$@"
