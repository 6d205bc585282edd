# shellcheck shell=bash disable=SC2154 # the entrypoint sets what is not set here
# The first start: a cluster is made beside its final place and takes that place in one step, when it is complete.
# Sourced by the entrypoint when $PGDATA has no finished data.
#
#   PGDATA can be put there by us:  HOLD = PARENT/.NAME.init, WORK = HOLD/data, published by one rename to $PGDATA.
#   PGDATA is a mount point, a link or another user's:  HOLD = $PGDATA, WORK = HOLD/.aza-init, whose entries are moved up.
#
# HOLD/.aza-incomplete is written before anything else and removed last. While it is there nothing is finished, and what
# it lists (one "entry NAME" or "waldir PATH" a line, written before the thing is made) is ours to remove. What is not
# listed is never removed: a user's file stops the start instead.
#
# Everything long runs in a worker, a process group of its own, so that PID 1 answers signals at once.

hold='' work='' in_place='' socket_dir=$run_dir/init
declare -A given=() # settings that POSTGRES_INITDB_ARGS has initdb write

first_start() { # ARGUMENT…: the server's arguments
    local parent=${PGDATA%/*}
    # shellcheck source=SCRIPTDIR/init-scripts.sh
    source "$lib/init-scripts.sh"
    check_run_dir
    first_start_place "$parent"
    discard_leftover
    if [[ $POSTGRES_ROLE == replica ]]; then
        # shellcheck source=SCRIPTDIR/replica.sh
        source "$lib/replica.sh"
        replica_settings
    else
        primary_settings "$@"
        data_probe=${in_place:+$PGDATA} data_probe=${data_probe:-$parent}
        configure
    fi
    [[ -z ${POSTGRES_INITDB_WALDIR:-} ]] || check_waldir
    begin_work

    if [[ $POSTGRES_ROLE == replica ]]; then
        run_worker replica_clone
    else
        run_worker primary_create "$@"
    fi
    if [[ $worker_status != 0 || ! -s $PGDATA/PG_VERSION || -e $PGDATA/$marker ]]; then
        end_worker
        if [[ $worker_status == 0 ]]; then warn "a script in /docker-entrypoint-initdb.d called exit"; fi
        refuse "the first start failed, see above: nothing of it is kept, the next start begins again"
    fi
    worker=''
    if [[ -z $in_place ]]; then # the lock on the place gives way to the one on the data
        hold_data "$PGDATA"
        exec {first_start_lock}<&-
    fi
    if [[ $POSTGRES_ROLE == replica ]]; then
        minimums
        configure
        included "$@"
        say "the standby's data is complete"
    else
        printf '\nPostgreSQL init process complete; ready for start up.\n\n'
    fi
}

# --- where ---------------------------------------------------------------------------------------------------------
first_start_place() { # PARENT
    mkdir -p "$1" 2>/dev/null || true
    # An empty directory that can be removed can be put back; one that cannot is a mount point, or not ours to replace.
    if [[ -w $1 && ! -L $PGDATA ]] && { [[ ! -e $PGDATA ]] || rmdir "$PGDATA" 2>/dev/null; }; then
        hold=$1/.${PGDATA##*/}.init work=$hold/data
        first_start_lock_directory "$1"
    elif [[ -d $PGDATA && -w $PGDATA && -O $PGDATA ]]; then
        hold=$PGDATA work=$hold/.aza-init in_place=yes
        first_start_lock_directory "$PGDATA"
    else
        refuse_place
    fi
}

refuse_place() { # before initdb: the server itself would refuse a directory of another user, after all the work
    local place=$PGDATA owner
    while [[ ! -e $place ]]; do place=${place%/*} place=${place:-/}; done
    owner=$(stat -L -c %u "$place")
    [[ $owner != "$EUID" ]] || refuse "user $EUID cannot write $place, where the data is to be made: is it mounted read-only?"
    refuse "the data cannot be made in $PGDATA: $place belongs to user $owner, but the server runs as user $EUID" \
        "Start the container once with --user root: it gives the directory to postgres and runs as postgres. Or give it" \
        "to user $EUID yourself (chown $EUID DIRECTORY on the host; --tmpfs $PGDATA:uid=$EUID,mode=0700)," \
        "or start with --user and the number of its owner, if that is not root."
}

first_start_lock_directory() {
    local status=0
    exec {first_start_lock}<"$1"
    flock --nonblock --conflict-exit-code 75 "$first_start_lock" 2>/dev/null || status=$?
    [[ $status != 75 ]] ||
        refuse "another container is making or using the data in $PGDATA: wait for it, or stop it"
}

contains_anything() { # DIRECTORY [NAME]: anything but NAME
    local entry
    for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        if [[ (-e $entry || -L $entry) && ${entry##*/} != "${2:-}" ]]; then return 0; fi
    done
    return 1
}

check_waldir() {
    mkdir -p "$POSTGRES_INITDB_WALDIR" && [[ -w $POSTGRES_INITDB_WALDIR ]] ||
        refuse "user $EUID cannot write POSTGRES_INITDB_WALDIR '$POSTGRES_INITDB_WALDIR'"
    if contains_anything "$POSTGRES_INITDB_WALDIR"; then
        refuse "POSTGRES_INITDB_WALDIR '$POSTGRES_INITDB_WALDIR' is not empty, and what is in it is not ours to remove"
    fi
}

begin_work() {
    local listed=''
    if [[ -d $PGDATA ]] && contains_anything "$PGDATA"; then
        refuse "$PGDATA is not empty, but holds no PostgreSQL data: nothing was changed" \
            "Empty it, or point PGDATA at a directory inside it (PGDATA=$PGDATA/data)."
    fi
    if [[ -n ${POSTGRES_INITDB_WALDIR:-} ]]; then listed="waldir $POSTGRES_INITDB_WALDIR"; fi
    mkdir -p "$hold"
    printf '%s\n' "$listed" >"$hold/$marker"
    sync "$hold/$marker" "$hold"
    rm -rf "$socket_dir"
    mkdir -m 0700 "$socket_dir"
}

# --- discard -------------------------------------------------------------------------------------------------------
discard_leftover() { # of an earlier first start that was killed
    if [[ -e $hold/$marker ]]; then
        say "removing what an unfinished first start left in ${work}, and beginning again"
        discard
    elif [[ -z $in_place && -e $hold ]]; then
        rmdir "$hold" 2>/dev/null || # killed between its first two steps; anything else in there is not ours
            refuse "$hold is in the way and is not what an unfinished first start leaves: move it away"
    fi
}

discard() { # what the marker says is ours, the marker last
    local kind name
    # A published cluster is not a leftover; only the holding directory is.
    while read -r kind name; do
        case $kind in
        waldir) if [[ ! -s $PGDATA/PG_VERSION || -n $in_place ]]; then rm -rf "${name:?}"/* "${name:?}"/.[!.]*; fi ;;
        entry) rm -rf "${PGDATA:?}/$name" ;;
        esac
    done <"$hold/$marker"
    rm -rf "$work" "$socket_dir"
    rm -f "$hold/$marker"
    if [[ -z $in_place ]]; then rmdir "$hold"; fi
}

# --- worker --------------------------------------------------------------------------------------------------------
# PID 1 waits, and can be interrupted by a signal while it does. The status comes in a variable: a function whose status
# is tested with || or if runs without errexit, and a failing step would not end it.
run_worker() { # FUNCTION ARGUMENT…: $worker_status
    worker_status=0
    set -m # a process group of its own
    "$@" </dev/null & # a terminal stays with PID 1; a worker that reads it would be stopped
    worker=$!
    set +m
    wait "$worker" || worker_status=$?
}

end_worker() { # whatever it is doing, and the temporary server with it; then discard
    local pid='' tries
    if [[ -e $work/postmaster.pid ]]; then read -r pid <"$work/postmaster.pid" || true; fi
    kill -TERM -- "-$worker" 2>/dev/null || true
    if [[ -n $pid ]]; then kill -QUIT "$pid" 2>/dev/null || true; fi # at once: its data is thrown away
    for ((tries = 0; tries < 50; tries++)); do # a server that a script restarted is not in the worker's group
        if ! kill -0 -- "-$worker" 2>/dev/null && { [[ -z $pid ]] || ! kill -0 "$pid" 2>/dev/null; }; then break; fi
        sleep 0.1
    done
    kill -KILL -- "-$worker" 2>/dev/null || true
    wait "$worker" 2>/dev/null || true
    if [[ -e $hold/$marker ]]; then discard; fi
}

# --- a primary -----------------------------------------------------------------------------------------------------
primary_settings() { # ARGUMENT…
    file_env POSTGRES_PASSWORD
    file_env POSTGRES_USER postgres
    # initdb puts the name into files and statements as it is.
    if [[ $POSTGRES_USER == *[\"\'\\\$]* ]]; then
        refuse "POSTGRES_USER is '$POSTGRES_USER', which initdb cannot make a superuser of" \
            'Choose a name without quotes, backslash and dollar sign.'
    fi
    file_env POSTGRES_DB "$POSTGRES_USER"
    file_env POSTGRES_INITDB_ARGS
    file_env POSTGRES_HOST_AUTH_METHOD
    if [[ $POSTGRES_HOST_AUTH_METHOD == trust ]]; then
        warn 'POSTGRES_HOST_AUTH_METHOD=trust: whoever reaches the port is let in as any user, without a password,' \
            'even where POSTGRES_PASSWORD is set. For a container that is every other container on its networks.'
    elif [[ -z $POSTGRES_PASSWORD ]]; then
        refuse 'there is no data yet, and no password for the superuser' \
            "Set POSTGRES_PASSWORD_FILE to a file with the password, or POSTGRES_PASSWORD (docker run -e POSTGRES_PASSWORD=…)." \
            'POSTGRES_HOST_AUTH_METHOD=trust lets everybody in without one; not recommended.'
    elif [[ -z $POSTGRES_HOST_AUTH_METHOD ]]; then
        POSTGRES_HOST_AUTH_METHOD=scram-sha-256
        # A password that is stored as md5 cannot be checked with scram; the method md5 takes both.
        if argument password_encryption "$@" && [[ $REPLY == md5 ]]; then POSTGRES_HOST_AUTH_METHOD=md5; fi
    fi
    check_config_file "$@"
    if [[ ${TZ:-} == */* && ! -e /usr/share/zoneinfo/${TZ#:} ]]; then
        warn "TZ is '$TZ', which is not a time zone of this image: the server's time zone will be UTC"
    fi
    [[ -r /docker-entrypoint-initdb.d ]] ||
        refuse "user $EUID cannot read /docker-entrypoint-initdb.d: check its mode (it needs r-x)"
}

check_config_file() { # ARGUMENT…: a file of the user's may say where the data is
    local said
    argument config_file "$@" || return 0
    # The file may include one of PGDATA, which is not there yet; then the server is the first to know.
    said=$(PGDATA=/ postgres "$@" -C data_directory 2>/dev/null) && [[ $said != / ]] || return 0
    [[ $(realpath -m "$said") == "$(realpath -m "$PGDATA")" ]] ||
        misconfigured "$REPLY sets data_directory to '$said', but PGDATA is '$PGDATA': set PGDATA to that directory, or remove the line"
}

primary_create() { # ARGUMENT…: runs in the worker
    make_cluster
    write_configuration
    server_arguments=("$@")
    # shellcheck disable=SC2119 # they are its own already
    docker_temp_server_start
    create_database
    run_scripts
    create_extensions
    docker_temp_server_stop
    replace_work_paths
    publish
}

make_cluster() {
    # The database sorts by code point with PostgreSQL's own tables ("builtin" provider): what an index is sorted by can
    # then never change under it when a newer image brings another libc or ICU. Natural-language order stays available
    # per column or query (COLLATE "de-x-icu"), and whole with POSTGRES_INITDB_ARGS, which win.
    local arguments=() locale=(--locale-provider=builtin --locale=C.UTF-8) local_host=scram-sha-256
    local user_arguments=() password_pipe line encoding=''
    eval "user_arguments=($POSTGRES_INITDB_ARGS)" # words and quotes as on a command line, like the official image
    read_initdb_arguments "${user_arguments[@]}"
    case ${encoding//[-_]/} in
    '' | [Uu][Tt][Ff]8 | [Uu][Nn][Ii][Cc][Oo][Dd][Ee]) ;;
    *) locale=(--locale-provider=builtin --locale=C) ;; # sorts by code point, too, and fits every encoding
    esac
    case " $POSTGRES_INITDB_ARGS " in *' --locale'* | *' --no-locale'* | *' --lc-'* | *' --icu-'* | *' --builtin-locale'*) locale=() ;; esac
    if [[ $POSTGRES_HOST_AUTH_METHOD == trust ]]; then local_host=trust; fi
    arguments=(--pgdata="$work" --username="$POSTGRES_USER" --encoding=UTF8 "${locale[@]}"
        --auth-local=trust --auth-host="$local_host" --no-instructions)
    [[ -z ${POSTGRES_INITDB_WALDIR:-} ]] || arguments+=(--waldir="$POSTGRES_INITDB_WALDIR")
    say "first start: initdb${user_arguments[*]:+ ${user_arguments[*]}}"
    with_user_name
    if [[ -n $POSTGRES_PASSWORD ]]; then # through a pipe, so that no argument and no file shows it
        exec {password_pipe}< <(printf '%s\n' "$POSTGRES_PASSWORD")
        user_arguments+=(--pwfile="/dev/fd/$password_pipe")
    fi
    # --no-sync: everything is made durable once, in publish; what initdb says about it would only frighten.
    LC_ALL=C.UTF-8 initdb "${arguments[@]}" "${user_arguments[@]}" --no-sync |
        while IFS= read -r line; do
            case $line in 'Sync to disk skipped.' | 'The data directory might become corrupt if'*) ;; *) printf '%s\n' "$line" ;; esac
        done
    without_user_name
}

read_initdb_arguments() { # ARGUMENT…: $encoding, and which settings initdb is told to write, in the caller's $given
    local arg name previous=''
    for arg; do
        name=''
        case $previous in
        -E | --encoding) encoding=$arg ;;
        -c | --set) name=${arg%%=*} ;;
        esac
        case $arg in
        -E?*) encoding=${arg#-E} ;;
        --encoding=*) encoding=${arg#*=} ;;
        -c?*) name=${arg#-c} name=${name%%=*} ;;
        --set=*) name=${arg#*=} name=${name%%=*} ;;
        esac
        if [[ -n $name ]]; then given[${name,,}]=yes; fi
        previous=$arg
    done
}

with_user_name() { # initdb wants a name for the user it runs as; an arbitrary --user has none
    if getent passwd "$EUID" >/dev/null; then return; fi
    local wrapper
    for wrapper in /usr/lib/*/libnss_wrapper.so; do
        if [[ ! -e $wrapper ]]; then break; fi
        printf 'postgres:x:%s:%s:PostgreSQL:%s:/bin/false\n' "$EUID" "${GROUPS[0]}" "$PGDATA" >"$socket_dir/passwd"
        printf 'postgres:x:%s:\n' "${GROUPS[0]}" >"$socket_dir/group"
        export LD_PRELOAD=$wrapper NSS_WRAPPER_PASSWD=$socket_dir/passwd NSS_WRAPPER_GROUP=$socket_dir/group
        return
    done
    warn "user $EUID has no name in /etc/passwd and libnss_wrapper is not installed: initdb may refuse"
}

without_user_name() { unset LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP; }

write_configuration() { # PGDATA/postgresql.conf: ours first, then initdb's, then conf.d; a later line wins over an earlier one
    local file=$work/postgresql.conf line name text
    local -A tuned=()
    # What initdb finds out by itself is replaced by tuned values; what the user has it write (-c, --set) is kept.
    for name in "${_tune_settings[@]}" shared_preload_libraries; do tuned[$name]=yes; done
    text="include_if_exists = '$tuned_conf'	# made at every start; everything below, ALTER SYSTEM and -c win over it
listen_addresses = '*'
"
    while IFS= read -r line; do
        if [[ ${line,,} =~ ^([a-z_]+)\ *= && -n ${tuned[${BASH_REMATCH[1]}]:-} && -z ${given[${BASH_REMATCH[1]}]:-} ]]; then line="#$line"; fi
        text+=$line$'\n'
    done <"$file"
    text+="
# Settings of your own go below, into files there, or into ALTER SYSTEM.
include_dir = '$conf_dir'
$private_include
"
    printf '%s' "$text" >"$file"
    printf '\nhost all all all %s\n' "$POSTGRES_HOST_AUTH_METHOD" >>"$work/pg_hba.conf"
}

# --- publish -------------------------------------------------------------------------------------------------------
replace_work_paths() { # a script may have written $PGDATA, then the temporary place, into a configuration file
    local file text
    for file in "$work"/*.conf; do
        text=$(<"$file")
        if [[ $text == *"$work"* || $text == *"$private_include"* ]]; then
            text=${text//$'\n'"$private_include"/}
            printf '%s\n' "${text//"$work"/"$PGDATA"}" >"$file"
        fi
    done
}

publish() {
    local entry name entries=()
    # A user who asks initdb for no sync (tests do) is served.
    case " ${POSTGRES_INITDB_ARGS:-} " in *' -N '* | *' --no-sync '*) ;; *) initdb --sync-only -D "$work" >/dev/null ;; esac
    if [[ -z $in_place ]]; then
        mv -T "$work" "$PGDATA"
        sync "${PGDATA%/*}"
        rm -f "$hold/$marker"
        rmdir "$hold"
        rm -rf "$socket_dir"
        return
    fi
    for entry in "$work"/* "$work"/.[!.]*; do
        name=${entry##*/}
        if [[ -e $entry && $name != PG_VERSION ]]; then entries+=("$name"); fi
    done
    printf 'entry %s\n' "${entries[@]}" PG_VERSION >>"$hold/$marker"
    sync "$hold/$marker"
    for name in "${entries[@]}" PG_VERSION; do mv -T "$work/$name" "$PGDATA/$name"; done
    chmod --reference="$work" "$PGDATA"
    rmdir "$work"
    sync "$PGDATA"
    rm -f "$hold/$marker"
    sync "$PGDATA"
    rm -rf "$socket_dir"
}
