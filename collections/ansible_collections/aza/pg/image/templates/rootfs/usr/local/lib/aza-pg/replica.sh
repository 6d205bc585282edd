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
# When a copy began and was going on, in microseconds. The file outlives what a copy that is killed leaves.
readonly copy_times=${PGDATA%/*}/.${PGDATA##*/}.copy-times

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

readonly minimum_names=(max_connections max_worker_processes max_wal_senders max_prepared_transactions max_locks_per_transaction)

primary_floors() { # at a start on data: what the primary has now, if it answers within two seconds
    local answers name value minimum
    file_env POSTGRES_REPLICATION_PASSWORD
    : "${POSTGRES_PRIMARY_PORT:=5432}" "${POSTGRES_PRIMARY_USER:=replicator}"
    write_passfile
    if ! answers=$(ask_primary 2 "${minimum_names[@]/#/SHOW }" 2>/dev/null); then
        say "the primary ${POSTGRES_PRIMARY_HOST:-} does not answer; what this standby needs at least is taken from its own data"
        return 0
    fi
    for name in "${minimum_names[@]}"; do
        value=${answers%%$'\n'*} answers=${answers#*$'\n'}
        minimum=tune_minimum_$name
        if [[ $value =~ ^[0-9]+$ ]] && ((value > ${!minimum:-0})); then printf -v "$minimum" %s "$value"; fi
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
    until copy_primary "${arguments[@]}"; do
        # pg_basebackup clears its own directory alone, and refuses a tablespace's that is not empty.
        [[ $(<"$socket_dir/copy-error") =~ directory\ \"(.+)\"\ exists\ but\ is\ not\ empty ]] || return 1
        clear_tablespace "${BASH_REMATCH[1]}"
    done
    : >>"$work/standby.signal"
    publish
    rm -f "$copy_times"
}

copy_primary() { # ARGUMENT…: its last error is in copy-error
    conninfo
    : >"$socket_dir/copy-error"
    copying
    LC_ALL=C pg_basebackup -d "$REPLY" --pgdata="$work" --wal-method=stream --checkpoint=fast \
        --no-password --no-sync --progress "$@" 2>&1 | copy_progress
}

clear_tablespace() { # DIRECTORY: of what an unfinished copy left in it; refuses when there is anything else
    local entry
    for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        if [[ (-e $entry || -L $entry) ]] && ! copied "$entry"; then
            refuse "the primary has a tablespace in $1, and here this directory is not empty: no unfinished copy left ${entry##*/} in it" \
                "Empty the directory, or mount another one there."
        fi
    done
    say "removing what an unfinished copy left in $1"
    rm -rf "${1:?}/PG_${PG_MAJOR}_"*
}

copied() { # DIRECTORY: whether a copy made it
    local born moment
    [[ -d $1 && ! -L $1 && ${1##*/} == "PG_${PG_MAJOR}_"* && -s $copy_times ]] || return 1
    born=$(stat -c %.6W "$1")
    [[ $born != 0* ]] || born=$(stat -c %.6Y "$1") # a file system that keeps no time of birth
    born=${born/./}
    while read -r moment; do
        # Nothing is copied before a copy begins (the time of a file is that of the last tick); then it is said once a
        # second, on a busy machine later.
        if ((born > moment - 20000 && born < moment + 5000000)); then return 0; fi
    done <"$copy_times"
    return 1
}

copying() { printf '%s\n' "${EPOCHREALTIME/./}" >>"$copy_times" || true; } 2>/dev/null

copy_progress() { # pg_basebackup reports every second: one line in ten seconds is enough
    local line next=$((SECONDS + 10))
    while IFS= read -r line; do
        if [[ $line == *%* ]]; then
            copying
            ((SECONDS >= next)) || continue
            next=$((SECONDS + 10))
        elif [[ $line == *' error: '* ]]; then
            printf '%s\n' "$line" >"$socket_dir/copy-error"
        fi
        say "copy: $line" >&2
    done
}
