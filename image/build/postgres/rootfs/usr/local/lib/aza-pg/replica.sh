# shellcheck shell=bash disable=SC2154 # the entrypoint sets what is not set here
# A standby: its first copy of the primary, and what it asks the primary at a start. Sourced by the entrypoint.
#
#   POSTGRES_PRIMARY_HOST, POSTGRES_PRIMARY_PORT (5432), POSTGRES_PRIMARY_USER (replicator)
#   POSTGRES_REPLICATION_PASSWORD(_FILE), or none where a client certificate (PGSSLCERT …) or trust does it
#   POSTGRES_REPLICATION_SLOT      the slot on the primary; made when it is missing
#   POSTGRES_PRIMARY_TIMEOUT       seconds to wait for the primary at the first start (300)
# TLS is set with libpq's own variables (PGSSLMODE, PGSSLROOTCERT …); they are kept in primary_conninfo.
# Where a file of conf.d names primary_conninfo, that file is the truth: it and its primary_slot_name are used as they
# are, the variables above are not, and the copy keeps no connection of its own.

readonly passfile=$run_dir/replication.passfile

replica_settings() {
    : "${POSTGRES_PRIMARY_PORT:=5432}" "${POSTGRES_PRIMARY_USER:=replicator}" "${POSTGRES_PRIMARY_TIMEOUT:=300}"
    [[ $POSTGRES_PRIMARY_TIMEOUT =~ ^[1-9][0-9]{0,5}$ ]] ||
        misconfigured "POSTGRES_PRIMARY_TIMEOUT is '$POSTGRES_PRIMARY_TIMEOUT', expected a number of seconds"
    if [[ -n $configured_conninfo ]]; then
        configured primary_slot_name && POSTGRES_REPLICATION_SLOT=$REPLY
        return 0
    fi
    [[ -n ${POSTGRES_PRIMARY_HOST:-} ]] ||
        misconfigured 'POSTGRES_ROLE=replica needs POSTGRES_PRIMARY_HOST: the name or address of the primary'
    [[ -z ${POSTGRES_REPLICATION_SLOT:-} || $POSTGRES_REPLICATION_SLOT =~ ^[a-z0-9_]{1,63}$ ]] ||
        misconfigured "POSTGRES_REPLICATION_SLOT is '$POSTGRES_REPLICATION_SLOT', expected lower-case letters, digits and '_'"
    file_env POSTGRES_REPLICATION_PASSWORD
    write_passfile
}

write_passfile() { # on tmpfs, for libpq alone; the server reads it again whenever it reconnects
    [[ -n ${POSTGRES_REPLICATION_PASSWORD:-} ]] || return 0
    local user=${POSTGRES_PRIMARY_USER//\\/\\\\} password=${POSTGRES_REPLICATION_PASSWORD//\\/\\\\}
    rm -f "$passfile"
    (umask 077 && printf '*:*:*:%s:%s\n' "${user//:/\\:}" "${password//:/\\:}" >"$passfile") ||
        misconfigured "user $EUID cannot write $passfile"
}

conninfo() { # [MORE]: quoted as libpq wants it
    local pair value text='' pairs=("$@")
    if [[ -n $configured_conninfo ]]; then
        text="$configured_conninfo "
    else
        pairs=("host=$POSTGRES_PRIMARY_HOST" "port=$POSTGRES_PRIMARY_PORT" "user=$POSTGRES_PRIMARY_USER")
        if [[ -e $passfile ]]; then pairs+=("passfile=$passfile"); fi
        pairs+=("application_name=${POSTGRES_REPLICATION_SLOT:-$HOSTNAME}" "$@")
    fi
    for pair in "${pairs[@]}"; do
        value=${pair#*=} value=${value//\\/\\\\}
        text+="${pair%%=*}='${value//\'/\\\'}' "
    done
    REPLY=${text% }
}

ask_primary() { # SECONDS COMMAND…: replication commands, their answers on standard output
    local seconds=$1 command commands=()
    shift
    for command; do commands+=(-c "$command"); done
    conninfo replication=true "connect_timeout=$seconds"
    LC_ALL=C psql --no-psqlrc --no-password -qAtX -v ON_ERROR_STOP=1 -d "$REPLY" "${commands[@]}"
}

readonly floor_names=(max_connections max_worker_processes max_wal_senders max_prepared_transactions max_locks_per_transaction)

primary_floors() { # at a start on data: what the primary has now, if it answers within two seconds
    local answers name value floor
    file_env POSTGRES_REPLICATION_PASSWORD
    : "${POSTGRES_PRIMARY_PORT:=5432}" "${POSTGRES_PRIMARY_USER:=replicator}"
    write_passfile
    if ! answers=$(ask_primary 2 "${floor_names[@]/#/SHOW }" 2>/dev/null); then
        say "the primary ${POSTGRES_PRIMARY_HOST:-} does not answer; what this standby needs at least is taken from its own data"
        return 0
    fi
    for name in "${floor_names[@]}"; do
        value=${answers%%$'\n'*} answers=${answers#*$'\n'}
        floor=tune_floor_$name
        if [[ $value =~ ^[0-9]+$ ]] && ((value > ${!floor:-0})); then printf -v "$floor" %s "$value"; fi
    done
}

wait_for_primary() {
    local error last='' next=0 limit=$((SECONDS + POSTGRES_PRIMARY_TIMEOUT))
    local where="${POSTGRES_PRIMARY_HOST:-}:$POSTGRES_PRIMARY_PORT to accept $POSTGRES_PRIMARY_USER"
    if [[ -n $configured_conninfo ]]; then where='that primary_conninfo names to accept us'; fi
    say "waiting up to $POSTGRES_PRIMARY_TIMEOUT s for the primary $where for replication"
    until error=$(ask_primary 5 IDENTIFY_SYSTEM 2>&1 >/dev/null); do
        ((SECONDS < limit)) ||
            refuse "the primary did not accept us within $POSTGRES_PRIMARY_TIMEOUT s (POSTGRES_PRIMARY_TIMEOUT): $error"
        if [[ $error != "$last" || $SECONDS -ge $next ]]; then
            say "still waiting for the primary, $((limit - SECONDS)) s left: ${error//$'\n'/ }"
            last=$error next=$((SECONDS + 10))
        fi
        sleep 1
    done
}

replica_clone() { # runs in the worker
    local arguments=() slot=${POSTGRES_REPLICATION_SLOT:-} made=''
    wait_for_primary
    if [[ -n $slot ]]; then
        arguments+=(--slot="$slot")
        made=$(ask_primary 5 "READ_REPLICATION_SLOT $slot")
        if [[ $made != physical* ]]; then
            say "making replication slot $slot on the primary"
            ask_primary 5 "CREATE_REPLICATION_SLOT $slot PHYSICAL (RESERVE_WAL)" >/dev/null
        fi
    fi
    if [[ -n ${POSTGRES_INITDB_WALDIR:-} ]]; then arguments+=(--waldir="$POSTGRES_INITDB_WALDIR"); fi
    if [[ -z $configured_conninfo ]]; then arguments+=(--write-recovery-conf); fi
    conninfo
    say "copying the primary's data"
    pg_basebackup -d "$REPLY" --pgdata="$work" --wal-method=stream --checkpoint=fast \
        --no-password --no-sync --progress "${arguments[@]}" 2> >(copy_progress)
    : >>"$work/standby.signal"
    publish
}

copy_progress() { # pg_basebackup reports every second: one line in ten seconds is enough
    local line next=$((SECONDS + 10))
    while IFS= read -r line; do
        if [[ $line == *%* ]]; then
            ((SECONDS >= next)) || continue
            next=$((SECONDS + 10))
        fi
        say "copy: $line" >&2
    done
}
