# shellcheck shell=bash disable=SC2154 # the entrypoint sets what is not set here
# Which libraries the server preloads. Sourced by the entrypoint.
#
# $share/preload            the flavour's defaults, in their order: "LIBRARY WORKERS"
# $share/preload-available  what can be added, in the order that fits: "LIBRARY WORKERS"
# $share/preload-order      all of them in the order that fits, each with those it must not be loaded with:
#                           "LIBRARY [LIBRARY…]"
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

preload_check() { # LIBRARY KNOWN…
    local library=$1 path name known=()
    shift
    [[ $library =~ ^[A-Za-z0-9_./\$-]+$ ]] ||
        misconfigured "'$library' cannot be the name of a library to preload: letters, digits, '_', '-', '.' and '/' only"
    path=${library#\$libdir/}
    if [[ $path != */* ]]; then path=/usr/lib/postgresql/$PG_MAJOR/lib/$path; fi
    if [[ -e $path || -e $path.so ]]; then return; fi
    for name; do
        if ! preload_has "$name" "${known[@]}"; then known+=("$name"); fi
    done
    misconfigured "the library '$library' is to be preloaded, but this image does not have it ($path.so)" \
        "It has: ${known[*]:-none}. Correct POSTGRES_SHARED_PRELOAD_LIBRARIES or POSTGRES_EXTRA_PRELOAD_LIBRARIES," \
        "or build the image with the extension that brings it."
}
