#!/bin/bash
# The entrypoint of the PostgreSQL image: prepares what the server needs, then becomes the server (PID 1 is postgres).
#
#   docker-entrypoint.sh [postgres] [server options]   make or find the data in $PGDATA, tune, start the server
#   docker-entrypoint.sh COMMAND …                     run that command instead (psql, bash, postgres --version …)
#   source docker-entrypoint.sh                        defines the functions; _main "$@" then does the above
#
# The environment is that of the official image, and more: docs/image.md.
# Exit status: 1 = the official image's refusals and failed first starts, 78 = a setting that cannot be used,
# 128+N = stopped by signal N before the server ran.
#
# A start on existing data is the common case and costs milliseconds: it uses almost no subprocess. What only a first
# start or a standby needs is in files of its own, read when it is needed.
set -euo pipefail
shopt -s inherit_errexit
user_lc_all=${LC_ALL-}
LC_ALL=C # ours alone: sorting, patterns and case do not depend on the user's locale

readonly lib=/usr/local/lib/aza-pg share=/usr/local/share/aza-pg
readonly with_file=(POSTGRES_{PASSWORD,USER,DB,INITDB_ARGS,HOST_AUTH_METHOD,REPLICATION_PASSWORD}) # or VARIABLE_FILE
readonly conf_dir=/etc/aza-pg/conf.d run_dir=/run/aza-pg
readonly tuned_conf=$run_dir/tuned.conf
# The stock values of what a standby may not have less of than its primary.
readonly standby_stock='max_connections=100 max_worker_processes=8 max_wal_senders=10 max_prepared_transactions=0
max_locks_per_transaction=64'

say() { printf 'aza-pg: %s\n' "$*" >&2; }
warn() { printf 'aza-pg: warning: %s\n' "$*" >&2; }
end() { # STATUS SENTENCE [MORE LINES]
    printf 'aza-pg: %s\n' "$2" >&2
    [[ $# -le 2 ]] || printf '        %s\n' "${@:3}" >&2
    exit "$1"
}
refuse() { end 1 "$@"; }         # as the official image does
misconfigured() { end 78 "$@"; } # EX_CONFIG: a setting that cannot be used

# --- signals: PID 1 gets none that it does not ask for, and bash handles one only between foreground commands --------
worker='' # the process group that does the long work of a first start; PID 1 itself only waits for it
on_signal() { # NAME NUMBER
    trap '' TERM INT HUP QUIT
    if [[ -n $worker ]]; then
        end_worker
        say "stopped by SIG$1 during the first start: nothing of it is kept, the next start begins again"
    else
        say "stopped by SIG$1 before the server ran"
    fi
    exit $((128 + $2))
}

# --- environment -----------------------------------------------------------------------------------------------------
both_set() { # VARIABLE: the official image's rule, checked at every start
    local file=${1}_FILE
    [[ -z ${!1:-} || -z ${!file:-} ]] ||
        refuse "both $1 and $file are set: set one of them (they exclude each other)"
}

file_env() { # VARIABLE [DEFAULT]: the value may be in the file that VARIABLE_FILE names, such as a mounted secret
    local file=${1}_FILE value=${!1:-}
    both_set "$1"
    if [[ -z $value && -n ${!file:-} ]]; then
        [[ -r ${!file} && ! -d ${!file} ]] ||
            refuse "$file names '${!file}', which user $EUID cannot read: check the mount, the path and the file's mode"
        IFS= read -r -d '' value <"${!file}" || true # to the end of the file: read then says 1
        while [[ $value == *[$'\r\n'] ]]; do value=${value%?}; done # also of a file from Windows
    fi
    # initdb would take the first line alone, and a password file of libpq has one entry a line.
    [[ $1 == POSTGRES_INITDB_ARGS || $value != *[$'\r\n']* ]] ||
        refuse "$1 has more than one line: nothing was changed. Give it as a single line"
    printf -v "$1" %s "${value:-${2:-}}"
    unset "$file"
}

one_of() { # VARIABLE WORD…: the first word is the default
    local name=$1 value=${!1:-} word
    shift
    if [[ -z $value ]]; then value=$1; fi
    for word in "$@"; do
        if [[ $word == "$value" ]]; then
            printf -v "$name" %s "$value"
            return
        fi
    done
    misconfigured "$name is '$value', expected one of: $*"
}

# --- the server's arguments ------------------------------------------------------------------------------------------
wants_help() { # what the server answers without data
    local arg
    for arg; do
        case $arg in -'?' | --help | --describe-config | -V | --version) return 0 ;; esac
    done
    return 1
}

argument() { # NAME ARGUMENT…: the last value that the arguments give to a setting, in $REPLY; false when none
    local name=$1 arg previous='' found=1
    shift
    for arg; do
        if [[ $previous == -c ]]; then arg=--$arg; elif [[ $arg == -c?* ]]; then arg=--${arg#-c}; fi
        previous=$arg
        [[ $arg == --*=* ]] || continue
        local key=${arg%%=*}
        key=${key#--}
        if [[ ${key//-/_} == "$name" ]]; then REPLY=${arg#*=} found=0; fi
    done
    return $found
}

# --- data ------------------------------------------------------------------------------------------------------------
readonly marker=.aza-incomplete # see first-start.sh

refuse_foreign_data() { # PGDATA is of another version, or the volume is laid out as before version 18
    local version='' dir old=()
    if [[ -s $PGDATA/PG_VERSION ]]; then
        [[ -r $PGDATA/PG_VERSION ]] || refuse_owner "$(stat -L -c %u "$PGDATA")"
        read -r version <"$PGDATA/PG_VERSION" || true
        [[ $version == "$PG_MAJOR" ]] ||
            refuse "$PGDATA holds data of PostgreSQL $version, this image has PostgreSQL $PG_MAJOR: data of another major version needs pg_upgrade or dump and restore"
        return
    fi
    [[ $PGDATA == "/var/lib/postgresql/$PG_MAJOR/docker" ]] || return 0
    for dir in /var/lib/postgresql /var/lib/postgresql/data /var/lib/postgresql/*/docker /var/lib/postgresql/data/*/docker; do
        if [[ -s $dir/PG_VERSION && ! -e $dir/$marker ]]; then old+=("$dir"); fi
    done
    if [[ ${#old[@]} == 0 ]] && is_mount_point /var/lib/postgresql/data; then
        old+=('/var/lib/postgresql/data (a volume that would stay unused)')
    fi
    [[ ${#old[@]} == 0 ]] ||
        refuse "there is data where this image does not keep it: ${old[*]}" \
            "Since version 18 the data lives in /var/lib/postgresql/$PG_MAJOR/docker, as in the official image." \
            "Mount the volume at /var/lib/postgresql, not at /var/lib/postgresql/data; data of an older version" \
            "needs pg_upgrade or dump and restore. Nothing was changed."
}

is_mount_point() {
    local line field
    while read -r line; do
        read -ra field <<<"$line"
        if [[ ${field[4]:-} == "$1" ]]; then return 0; fi
    done </proc/self/mountinfo
    return 1
}

hold_data() { # two servers on one directory destroy it; PostgreSQL's own lock cannot tell two containers' PID 1 apart
    local status=0
    exec {data_lock}<"$1" # stays open, so that the server inherits the lock and keeps it as long as it lives
    flock --nonblock --conflict-exit-code 75 "$data_lock" 2>/dev/null || status=$?
    case $status in
    0) ;;
    75) refuse "another container is using $1: stop it first (two servers on the same data destroy it)" ;;
    *) exec {data_lock}<&- ;; # a file system without such locks: then nobody can be told
    esac
}

configured() { # NAME: what the files of conf.d say of a setting, in $REPLY; false when they do not name it
    local file line value found=1
    for file in "$conf_dir"/*.conf; do
        [[ -r $file ]] || continue
        while IFS= read -r line; do
            [[ $line =~ ^[[:space:]]*$1[[:space:]]*=[[:space:]]*\'(.*)\'[[:space:]]*$ ]] || continue
            value=${BASH_REMATCH[1]//\'\'/\'}
            REPLY=${value//\\\\/\\} found=0
        done <"$file"
    done
    return $found
}

# --- configuration ---------------------------------------------------------------------------------------------------
minimums() { # what a standby may not have less of than its primary: from pg_control, and from the primary if it answers
    local line key value name
    # shellcheck disable=SC2034 # read by autotune.sh
    [[ -e $PGDATA/standby.signal || -e $PGDATA/recovery.signal ]] || return 0
    while IFS=: read -r key line; do
        value=${line//[^0-9]/}
        case $key in
        'max_connections setting') name=max_connections ;;
        'max_worker_processes setting') name=max_worker_processes ;;
        'max_wal_senders setting') name=max_wal_senders ;;
        'max_prepared_xacts setting') name=max_prepared_transactions ;;
        'max_locks_per_xact setting') name=max_locks_per_transaction ;;
        *) continue ;;
        esac
        printf -v "tune_minimum_$name" %s "$value"
    done < <(pg_controldata "$PGDATA")
    if [[ -n ${POSTGRES_PRIMARY_HOST:-}$configured_conninfo ]]; then
        # shellcheck source=SCRIPTDIR/../lib/aza-pg/replica.sh
        declare -F primary_floors >/dev/null || source "$lib/replica.sh"
        primary_floors
    fi
}

stock_floors() { # for POSTGRES_AUTOTUNE=off: stock values, but a standby must be able to start
    local setting minimum
    for setting in $standby_stock; do
        minimum=tune_minimum_${setting%=*}
        if ((${!minimum:-0} > ${setting#*=})); then echo "${setting%=*} = ${!minimum}"; fi
    done
}

too_small() { # ARGUMENT…: the minimums that are set lower, NAME=MINIMUM, in $REPLY
    local setting name minimum value raised=()
    for setting in $standby_stock; do
        name=${setting%=*} minimum=tune_minimum_${setting%=*}
        ((${!minimum:-0})) || continue
        # What is wrong with its configuration, the server says itself.
        value=$(postgres "$@" -D "$PGDATA" -C "$name" 2>/dev/null) || return 0
        if ((value < ${!minimum})); then
            say "$name is ${!minimum}, not $value as it is set: a standby may not have less than its primary has, or had in what is still to be replayed"
            raised+=("$name=${!minimum}")
        fi
    done
    REPLY=${raised[*]}
}

check_run_dir() {
    : 2>/dev/null >>"$tuned_conf" ||
        misconfigured "user $EUID cannot write $tuned_conf: add --tmpfs $run_dir:mode=1777 (Compose: tmpfs: ['$run_dir:mode=1777'])"
}

configure() {
    check_run_dir
    # shellcheck source=/dev/null
    source "$lib/autotune.sh"
    # shellcheck disable=SC2034 # read by autotune.sh
    tune_preload_workers=$preload_workers tune_pgdata=${data_probe:-$PGDATA}
    if [[ $POSTGRES_AUTOTUNE == on ]]; then
        autotune_detect
        autotune_compute
        autotune_write "$tuned_conf"
        autotune_explain
    else
        stock_floors >"$tuned_conf"
        say "POSTGRES_AUTOTUNE=off: PostgreSQL's stock values, but for what you set"
    fi
    printf "shared_preload_libraries = '%s'\n" "$preload" >>"$tuned_conf"
    # PostgreSQL lets a slot use only the output plugins that are named here: its own two, and those of this image.
    local plugin plugins='pgoutput, test_decoding'
    while read -r plugin; do plugins+=", $plugin"; done <"$share/output-plugins"
    printf "output_plugin_libraries = '%s'\n" "$plugins" >>"$tuned_conf"
    say "preloaded libraries: ${preload:-none} ($preload_source)"
    check_shared_memory
}

included() { # data that another image made does not read our file: say so, and change nothing
    local line
    if argument config_file "$@"; then return; fi
    while read -r line; do
        if [[ $line == include_if_exists*"$tuned_conf"* ]]; then return; fi
    done <"$PGDATA/postgresql.conf"
    warn "$PGDATA/postgresql.conf was not made by this image, so the values above are not used." \
        "To use them, make this its first line and remove its own lines for what is tuned: include_if_exists = '$tuned_conf'"
}

become_postgres() { # started as root: give the directories to postgres, then start again as postgres
    local parent=${PGDATA%/*} dir name
    mkdir -p "$parent" /var/run/postgresql "$run_dir"
    for dir in "$PGDATA" "${POSTGRES_INITDB_WALDIR:-}"; do
        if [[ -n $dir && -d $dir ]]; then find "$dir" ! -user postgres -exec chown postgres '{}' +; fi
    done
    if [[ -n ${POSTGRES_INITDB_WALDIR:-} && ! -d $POSTGRES_INITDB_WALDIR ]]; then
        install -d -o postgres -m 0700 "$POSTGRES_INITDB_WALDIR"
    fi
    if [[ $parent == /var/lib/postgresql/* ]]; then
        chown postgres "$parent"
    elif [[ ! -e $PGDATA ]]; then # the parent stays what it is
        install -d -o postgres -m 0700 "$PGDATA"
    fi
    chown postgres /var/run/postgresql
    # A secret may be a file that only root reads; it goes on as a variable, as in the official image.
    for name in "${with_file[@]}"; do
        file_env "$name"
        if [[ -n ${!name} ]]; then export "${name?}"; else unset "$name"; fi
    done
    export HOME=/var/lib/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
}

serve() { # postgres [ARGUMENT…]
    shift
    trap 'on_signal TERM 15' TERM
    trap 'on_signal INT 2' INT
    trap 'on_signal QUIT 3' QUIT
    trap 'on_signal HUP 1' HUP
    local name
    PGDATA=${PGDATA%/}
    [[ $PGDATA == /* ]] || misconfigured "PGDATA is '$PGDATA', expected an absolute path"
    for name in "${with_file[@]}"; do both_set "$name"; done
    configured_conninfo=''
    # Data does not ask for a role, and a first start on a host of a cluster is what its configuration says.
    if configured primary_conninfo && [[ -n $REPLY ]]; then
        configured_conninfo=$REPLY
        : "${POSTGRES_ROLE:=replica}"
    fi
    one_of POSTGRES_ROLE primary replica
    one_of POSTGRES_AUTOTUNE on off
    # shellcheck source=SCRIPTDIR/../lib/aza-pg/preflight.sh
    source "$lib/preflight.sh"
    refuse_foreign_data
    if [[ $EUID == 0 ]]; then become_postgres postgres "$@"; fi

    for name in hba ident; do # ahead of the user's own arguments, which win
        local variable=POSTGRES_${name^^}_FILE
        [[ -n ${!variable:-} ]] || continue
        [[ -r ${!variable} ]] || misconfigured "$variable names '${!variable}', which user $EUID cannot read"
        set -- -c "${name}_file=${!variable}" "$@"
    done

    # shellcheck source=SCRIPTDIR/../lib/aza-pg/preload.sh
    source "$lib/preload.sh"
    preload_resolve "$@"

    local data_probe=''
    if [[ -s $PGDATA/PG_VERSION && ! -e $PGDATA/$marker ]]; then
        [[ -z $init_only ]] || data_exists
        check_data_directory
        hold_data "$PGDATA"
        check_pid_file
        local holding=${PGDATA%/*}/.${PGDATA##*/}.init # killed after the rename, before the last of its cleaning
        if [[ -e $holding/$marker && ! -e $holding/data ]]; then rm "$holding/$marker" && rmdir "$holding"; fi
        minimums
        configure
        included "$@"
        if preload_files "$@"; then set -- "$@" -c shared_preload_libraries=; fi
        check_auto_conf "$@"
        printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
    else
        # shellcheck source=SCRIPTDIR/../lib/aza-pg/first-start.sh
        source "$lib/first-start.sh"
        first_start "$@"
        [[ -z $init_only ]] || exit 0
    fi
    if [[ $POSTGRES_ROLE == primary && -e $PGDATA/standby.signal ]]; then
        say "$PGDATA is a standby's (standby.signal), so this server is one, whatever POSTGRES_ROLE says: promote it to change that"
    elif [[ $POSTGRES_ROLE == replica && ! -e $PGDATA/standby.signal ]]; then
        say "$PGDATA is a primary's (no standby.signal; promoted?), so this server is one, whatever POSTGRES_ROLE says"
    fi

    if [[ -e $PGDATA/standby.signal || -e $PGDATA/recovery.signal ]]; then
        local REPLY=''
        too_small "$@"
        for name in $REPLY; do set -- "$@" -c "$name"; done
    fi

    # The server and what it starts (archive commands, PL code) need no secret of ours.
    unset POSTGRES_PASSWORD{,_FILE} POSTGRES_REPLICATION_PASSWORD{,_FILE} PGPASSWORD
    if [[ -n $user_lc_all ]]; then export LC_ALL=$user_lc_all; else unset LC_ALL; fi
    exec postgres "$@"
}

data_exists() { # docker-ensure-initdb.sh is content with it, docker-enforce-initdb.sh is not
    local name=${0##*/}
    [[ $name != docker-enforce-initdb.sh ]] || refuse "$name: there is data in $PGDATA already"
    say "$name: there is data in $PGDATA already"
    exit 0
}

_main() {
    if [[ $# == 0 || $1 == -* ]]; then set -- postgres "$@"; fi
    if [[ $1 != postgres ]] || wants_help "${@:2}"; then
        if [[ -n $user_lc_all ]]; then LC_ALL=$user_lc_all; else unset LC_ALL; fi
        exec "$@"
    fi
    serve "$@"
}

init_only='' # set by docker-ensure-initdb.sh: make the data, start no server
if [[ ${BASH_SOURCE[0]} == "$0" ]]; then _main "$@"; fi
