# shellcheck shell=bash disable=SC2154 # the entrypoint and first-start.sh set what is not set here
# The temporary server of a first start, and the scripts that use it. Sourced by first-start.sh.
#
# Init scripts are written for the official image: docker_process_sql, docker_process_init_files, docker_temp_server_start,
# docker_temp_server_stop, file_env and "${psql[@]}" are its names, and pg_ctl -D "$PGDATA" works.
# Their sessions get no options of ours; the sessions of our own statements get session_options.

# shellcheck source=SCRIPTDIR/session.sh
source "$lib/session.sh"

# --- the temporary server: reached through a private socket only -----------------------------------------------------
# Durability comes from publish. What would make the scripts wait for other servers, or log elsewhere, is off for now.
readonly private_settings=(
    listen_addresses= unix_socket_directories="$socket_dir" unix_socket_permissions=0700 hba_file="$socket_dir/pg_hba.conf"
    fsync=off full_page_writes=off synchronous_standby_names= archive_mode=off logging_collector=off log_destination=stderr
)
# They hold also for a script that stops the server with pg_ctl and starts it again; publish removes the line.
readonly private_conf=$socket_dir/private.conf
# shellcheck disable=SC2034 # first-start.sh writes and removes it
readonly private_include="include_if_exists = '$private_conf'"
server='' server_arguments=()

docker_temp_server_start() { # [postgres] [ARGUMENT…]: in addition to the container's own arguments
    local setting line status='' waited=0 options=()
    [[ ${1:-} != postgres ]] || shift
    printf 'local all all trust\n' >"$socket_dir/pg_hba.conf"
    for setting in "${private_settings[@]}"; do
        options+=(-c "$setting")
        printf "%s = '%s'\n" "${setting%%=*}" "${setting#*=}"
    done >"$private_conf"
    # A config_file of the user's may name the final place of the data.
    env -u POSTGRES_PASSWORD -u PGPASSWORD -u NOTIFY_SOCKET postgres -D "$work" \
        "${server_arguments[@]}" "$@" -p 5432 -c data_directory="$work" "${options[@]}" &
    server=$!
    while [[ $status != ready* ]]; do
        kill -0 "$server" 2>/dev/null || refuse 'the temporary server did not start, see above'
        if ((waited++ % 1000 == 999)); then say 'first start: waiting for the temporary server'; fi
        sleep 0.01
        status=''
        if [[ -e $work/postmaster.pid ]]; then
            { for _ in 1 2 3 4 5 6 7 8; do IFS= read -r line || line=''; done; status=$line; } <"$work/postmaster.pid"
        fi
    done
}

docker_temp_server_stop() { # whichever process it is: a script may have restarted it
    local pid=''
    if [[ -e $work/postmaster.pid ]]; then read -r pid <"$work/postmaster.pid" || true; fi
    [[ -n $pid ]] || refuse 'the temporary server is not running: a script stopped it and did not start it again'
    kill -INT "$pid"
    while [[ -e $work/postmaster.pid ]] && kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
    if [[ -n $server ]]; then wait "$server" 2>/dev/null || true; fi
    server=''
    [[ $(pg_controldata "$work") =~ 'cluster state:'\ +'shut down'$'\n' ]] ||
        refuse 'the temporary server did not shut down cleanly, see above'
}

# --- scripts ---------------------------------------------------------------------------------------------------------
docker_process_sql() { # PSQL-ARGUMENT…
    # The database is not an argument: psql would take a name with '=' for a connection string.
    PGHOST=$socket_dir PGHOSTADDR='' PGPORT=5432 PGDATABASE=${POSTGRES_DB:-${PGDATABASE:-}} \
        psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --no-password --no-psqlrc "$@"
}

our_sql() { # PSQL-ARGUMENT…: the same for statements of ours
    PGOPTIONS="$session_options -c client_min_messages=warning" docker_process_sql --quiet "$@"
}

create_database() {
    if [[ $POSTGRES_DB == postgres ]]; then return; fi
    our_sql --dbname postgres --set db="$POSTGRES_DB" <<'SQL'
SELECT pg_catalog.format('CREATE DATABASE %I', :'db')
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = :'db') \gexec
SQL
}

run_scripts() { # they find the server and their files where they are now, in the user's locale
    local final=$PGDATA
    export PGHOST=$socket_dir PGPORT=5432 PGUSER=$POSTGRES_USER PGDATA=$work
    export POSTGRES_PASSWORD POSTGRES_USER POSTGRES_DB POSTGRES_INITDB_ARGS POSTGRES_HOST_AUTH_METHOD PGPASSWORD=$POSTGRES_PASSWORD
    unset PGHOSTADDR
    if [[ -n $user_lc_all ]]; then LC_ALL=$user_lc_all; else unset LC_ALL; fi
    docker_process_init_files /docker-entrypoint-initdb.d/* # in the order of the user's locale
    LC_ALL=C PGDATA=$final
}

docker_process_init_files() { # FILE…
    local script
    # shellcheck disable=SC2034 # sourced scripts use "${psql[@]}"
    psql=(docker_process_sql)
    for script; do
        case $script in
        *.sh)
            if [[ -x $script ]]; then
                say "running $script"
                "$script"
            else
                say "sourcing $script"
                set +u # scripts are written for the official image, which does not ask for set variables
                # shellcheck source=/dev/null
                source "$script"
                set -euo pipefail
            fi
            ;;
        *.sql)
            say "running $script"
            docker_process_sql -f "$script"
            ;;
        *.sql.gz)
            say "running $script"
            gzip -dc "$script" | docker_process_sql
            ;;
        *.sql.xz)
            say "running $script"
            xz -dc "$script" | docker_process_sql
            ;;
        *.sql.zst)
            say "running $script"
            zstd -dc "$script" | docker_process_sql
            ;;
        */'*') ;; # no scripts
        *) say "ignoring $script: neither .sh nor .sql, .sql.gz, .sql.xz, .sql.zst" ;;
        esac
    done
}

create_extensions() { # after the scripts, so that a script's own CREATE EXTENSION is not in the way
    local name schema library sql=''
    local -A needs=()
    while read -r library _; do needs[$library]=yes; done < <(cat "$share/preload" "$share/preload-available")
    while read -r name schema; do
        if [[ -n ${needs[$name]:-} ]]; then # the server knows what it preloaded: arguments and files may have a say in it
            sql+="SELECT '$name' = ANY (pg_catalog.string_to_array(pg_catalog.replace(
    pg_catalog.current_setting('shared_preload_libraries'), ' ', ''), ',')) AS ok \\gset
\\if :ok
"
        fi
        sql+=$(create_extension "$name" "$schema")$'\n'
        if [[ -n ${needs[$name]:-} ]]; then
            sql+="\\else
\\echo aza-pg: extension $name is not created: its library is not preloaded
\\endif
"
        fi
    done <"$share/create"
    if [[ -z $sql ]]; then return; fi
    say "first start: extensions of this image in database $POSTGRES_DB"
    our_sql <<<"$sql"
}

create_extension() { # NAME [SCHEMA]: in the schema that is given, or its control file names, or public if that exists
    if [[ -n $2 ]]; then
        echo "CREATE SCHEMA IF NOT EXISTS \"$2\"; CREATE EXTENSION IF NOT EXISTS \"$1\" WITH SCHEMA \"$2\";"
        return
    fi
    cat <<SQL
SELECT pg_catalog.format('CREATE EXTENSION IF NOT EXISTS %I%s', '$1', CASE WHEN schema IS NULL THEN ' WITH SCHEMA public' END)
FROM (SELECT (SELECT v.schema FROM pg_catalog.pg_available_extensions AS a
    JOIN pg_catalog.pg_available_extension_versions AS v ON v.name = a.name AND v.version = a.default_version
    WHERE a.name = '$1') AS schema) AS control
WHERE schema IS NOT NULL OR pg_catalog.to_regnamespace('public') IS NOT NULL \\gexec
SQL
}
