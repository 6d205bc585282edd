# shellcheck shell=bash disable=SC2154 # the entrypoint sets what is not set here
# Reasons for which the server would not start on existing data. The server says what is wrong with its data and files;
# these checks say it in one line and add the remedy. Sourced by the entrypoint.

in_this_container() { # COMMAND…: how a user runs it on the stopped container's volumes, in $REPLY
    REPLY="docker run --rm --volumes-from $HOSTNAME IMAGE $*"
}

refuse_owner() { # NUMBER
    refuse "$PGDATA belongs to user $1, but this server runs as user $EUID: PostgreSQL refuses another user's data" \
        "Start the container with --user $1, or once with --user root, which gives the data to postgres (999)."
}

check_data_directory() { # owner, mode, space
    local facts owner mode probe=$PGDATA/.aza-space
    facts=$(stat -L -c '%u %a' "$PGDATA")
    owner=${facts% *} mode=${facts#* }
    [[ $owner == "$EUID" ]] || refuse_owner "$owner"
    [[ -w $PGDATA ]] ||
        refuse "user $EUID cannot write $PGDATA: is it mounted read-only? Mount it writable"
    if ((8#$mode & 8#027)) && chmod g-w,o-rwx "$PGDATA"; then # fsGroup of Kubernetes sets such modes
        say "mode of $PGDATA was $mode, which PostgreSQL refuses: group write and access of others are removed"
    fi
    # Below 1 MB the truth is in a write: some file systems report less than they have.
    if (($(stat -f -c '%a * %S' "$PGDATA") < 1048576)); then
        local full=''
        { printf '%65536s' '' >"$probe"; } 2>/dev/null || full=yes
        rm -f "$probe"
        [[ -z $full ]] ||
            refuse "the file system of $PGDATA is full: the server cannot start without free space" \
                "Enlarge the volume or free space on it. Never delete files of pg_wal or of other directories in $PGDATA."
    fi
}

check_pid_file() { # after a crash on a full disk it is empty, and the server would refuse it at every start
    local file=$PGDATA/postmaster.pid pid='' name=''
    [[ -e $file ]] || return 0
    read -r pid <"$file" || true
    if [[ ! -s $file ]]; then
        # A server that starts fills its file within milliseconds.
        (($(date +%s) - $(stat -c %Y "$file") >= 10)) ||
            refuse "$file is empty: another server is starting there, or it is a leftover of a crash" \
                'If no other server uses this data, start the container again in ten seconds.'
        rm -f "$file"
        say "removed the empty $file, a leftover of a crash"
    elif [[ $pid =~ ^[0-9]+$ && $pid != "$$" && $pid != "$PPID" && -O /proc/$pid ]]; then
        name=$(<"/proc/$pid/comm") || return 0
        [[ $name != postgres ]] || return 0 # the server decides
        rm -f "$file"
        say "removed the stale $file: process $pid is '$name', not a server"
    fi
}

check_auto_conf() { # ARGUMENT…: what ALTER SYSTEM wrote, or a person
    local file=$PGDATA/postgresql.auto.conf text output
    [[ -r $file ]] || return 0
    text=$'\n'$(<"$file")
    [[ $text == *$'\n'[^#$'\n']* ]] || return 0 # only comments
    if output=$(postgres "$@" -D "$PGDATA" -C data_directory 2>&1 >/dev/null) || [[ $output != *"$file"* ]]; then return 0; fi
    output=${output%%$'\n'*FATAL:*}
    in_this_container "sed -i '/^NAME /d' $file"
    misconfigured "a line of $file keeps the server from starting: ${output##*LOG:  }" \
        "Remove the line, with the setting's name for NAME and this container's image: $REPLY"
}

check_shared_memory() { # parallel queries keep hash tables and sorted rows there
    local line size
    [[ -n ${tuned_shm_size_mb:-} ]] || return 0
    while read -r line; do
        [[ $line == *' /dev/shm '* && $line =~ [,\ ]size=([0-9]+)k ]] || continue
        size=$((BASH_REMATCH[1] / 1024))
        ((size < ${tuned_shm_size_mb%MB})) || return 0
        warn "/dev/shm has $size MB, and parallel queries may need ${tuned_shm_size_mb%MB} MB (they fail with \"could not resize" \
            "shared memory segment\"): start the container with --shm-size=${tuned_shm_size_mb%MB}m (Compose: shm_size)"
        return 0
    done </proc/self/mountinfo
}
