# shellcheck shell=bash disable=SC2154 # the entrypoint sets what is not set here
# Which libraries the server preloads. Sourced by the entrypoint.
#
# $share/preload            the flavour's defaults, in their order: "LIBRARY WORKERS"
# $share/preload-available  what can be added, in the order that fits: "LIBRARY WORKERS"
# $share/preload-order      all of them in the order that fits, each with those it must not be loaded with:
#                           "LIBRARY [LIBRARY…]"
#
# Files that the server reads win over this list; preload_files tells what would go wrong with theirs.
#
# Result: $preload (the value of shared_preload_libraries), $preload_workers (background workers they need together),
# $preload_source (a few words for the log).

preload_resolve() { # ARGUMENT…: the server's arguments, which win
    local library count others default=() optional=() chosen=() wanted=() order=()
    local -A workers=() conflicts=()
    while read -r library count; do default+=("$library") workers[$library]=${count:-0}; done <"$share/preload"
    while read -r library count; do optional+=("$library") workers[$library]=${count:-0}; done <"$share/preload-available"
    while read -r library others; do order+=("$library") conflicts[$library]=$others; done <"$share/preload-order"

    if argument shared_preload_libraries "$@"; then
        preload_split "$REPLY" chosen
        preload_source="from the server's own arguments"
    elif [[ ${POSTGRES_SHARED_PRELOAD_LIBRARIES:-} == none ]]; then
        preload_source='POSTGRES_SHARED_PRELOAD_LIBRARIES=none'
    elif [[ -n ${POSTGRES_SHARED_PRELOAD_LIBRARIES:-} ]]; then
        preload_split "$POSTGRES_SHARED_PRELOAD_LIBRARIES" chosen
        preload_source='POSTGRES_SHARED_PRELOAD_LIBRARIES'
    else
        chosen=("${default[@]}")
        preload_source="this image's defaults"
    fi
    if ! argument shared_preload_libraries "$@" && [[ -n ${POSTGRES_EXTRA_PRELOAD_LIBRARIES:-} ]]; then
        preload_split "$POSTGRES_EXTRA_PRELOAD_LIBRARIES" wanted
        wanted=("${chosen[@]}" "${wanted[@]}") chosen=()
        # What the image knows comes in the image's order (a library may have to stand before another), the rest as given.
        for library in "${order[@]}" "${wanted[@]}"; do
            if preload_has "$library" "${wanted[@]}"; then chosen+=("$library"); fi
        done
        preload_source+=' and POSTGRES_EXTRA_PRELOAD_LIBRARIES'
    fi

    local unique=()
    preload_workers=0
    for library in "${chosen[@]}"; do
        if preload_has "$library" "${unique[@]}"; then continue; fi
        preload_check "$library" "${default[@]}" "${optional[@]}"
        for others in ${conflicts[$library]:-}; do
            preload_has "$others" "${unique[@]}" || continue
            misconfigured "the libraries '$others' and '$library' must not be preloaded together: leave one of them out"
        done
        unique+=("$library")
        preload_workers=$((preload_workers + ${workers[$library]:-0}))
    done
    local IFS=,
    # shellcheck disable=SC2034 # a result
    preload=${unique[*]}
}

preload_split() { # "a, b ,c" ARRAY: blanks and double quotes around a name do not matter, as in postgresql.conf
    local -n split_into=$2
    local name rest=$1,
    while [[ -n $rest ]]; do
        name=${rest%%,*} rest=${rest#*,}
        name=${name//[[:space:]\"]/}
        if [[ -n $name ]]; then split_into+=("$name"); fi
    done
}

preload_has() { # WORD WORD…
    local word=$1 other
    shift
    for other; do
        if [[ $other == "$word" ]]; then return 0; fi
    done
    return 1
}

preload_exists() { # LIBRARY: $REPLY is its path
    REPLY=${1#\$libdir/}
    if [[ $REPLY != */* ]]; then REPLY=/usr/lib/postgresql/$PG_MAJOR/lib/$REPLY; fi
    [[ -e $REPLY || -e $REPLY.so ]]
}

preload_check() { # LIBRARY KNOWN…
    local library=$1 name known=() REPLY
    shift
    [[ $library =~ ^[A-Za-z0-9_./\$-]+$ ]] ||
        misconfigured "'$library' cannot be the name of a library to preload: letters, digits, '_', '-', '.' and '/' only"
    if preload_exists "$library"; then return; fi
    for name; do
        if ! preload_has "$name" "${known[@]}"; then known+=("$name"); fi
    done
    misconfigured "the library '$library' is to be preloaded, but this image does not have it ($REPLY.so)" \
        "It has: ${known[*]:-none}. Correct POSTGRES_SHARED_PRELOAD_LIBRARIES or POSTGRES_EXTRA_PRELOAD_LIBRARIES," \
        "or build the image with the extension that has it."
}

# ALTER SYSTEM SET shared_preload_libraries = '' writes a list with one empty name ('""'), which no server can load.
preload_files() { # ARGUMENT…: on existing data; true if such a list must be overridden on the command line
    local files=("$PGDATA/postgresql.conf") line='' found name library names=()
    if argument shared_preload_libraries "$@" || argument config_file "$@"; then return 1; fi
    if [[ $(<"$PGDATA/postgresql.conf") == *"include_dir = '$conf_dir'"* ]]; then files+=("$conf_dir"/*.conf); fi
    files+=("$PGDATA/postgresql.auto.conf")
    found=$(grep -sHE '^[[:space:]]*shared_preload_libraries[[:space:]=]' "${files[@]}") || true # also of a missing file
    [[ -n $found ]] || return 1
    line=${found##*$'\n'} # the last one wins
    name=${line%%:*} line=${line#*:}
    [[ $line =~ libraries[[:space:]]*=?[[:space:]]*(\'([^\']*)\'|([A-Za-z0-9_]+)) ]] || return 1
    line=${BASH_REMATCH[2]}${BASH_REMATCH[3]}
    preload_split "$line" names
    if [[ ${#names[@]} == 0 && $line == *'"'* ]]; then
        warn "$name sets shared_preload_libraries to one empty name ('\"\"'), which no server can load: it starts with no" \
            'libraries. To write an empty list: ALTER SYSTEM SET shared_preload_libraries TO DEFAULT, or -c shared_preload_libraries='
        return 0
    fi
    for library in "${names[@]}"; do
        if preload_exists "$library"; then continue; fi
        in_this_container "sed -i '/^ *shared_preload_libraries/d' $name"
        warn "$name preloads the library '$library', which this image does not have: the server will not start." \
            "Correct the line, or remove it: $REPLY"
    done
    return 1
}
