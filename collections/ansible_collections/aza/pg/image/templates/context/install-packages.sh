#!/bin/bash
# Install exactly the locked packages, prove that nothing is missing, and leave nothing behind that is secret,
# dangerous or different from one build to the next. Runs while the image is built; is not part of the image.
#
#   install-packages.sh install DIR    DIR/packages.ARCH  one "NAME VERSION SHA256 FILE" a line, complete with dependencies
#                                      DIR/files          one "PATH EXTENSION" a line that must exist afterwards (optional)
#   install-packages.sh verify DIR     the proof alone
#
# Every failing command ends the build: no list of commands here is joined so that a later success could hide it.
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

die() {
    printf 'aza-pg: %s\n' "$@" >&2
    exit 1
}

readonly run=/run/build
command=${1:?install or verify}
locked=${2:?directory of the locked lists}
arch=$(dpkg --print-architecture)
[[ -r $locked/packages.$arch ]] || die "the lock has no packages for architecture $arch"

declare -A version=() sha256=() file=()
while read -r name locked_version checksum filename; do
    [[ $name == '#'* ]] && continue
    version[$name]=$locked_version sha256[$name]=$checksum file[$name]=$filename
done <"$locked/packages.$arch"
wanted=()
for name in "${!version[@]}"; do wanted+=("$name=${version[$name]}"); done

# Debs are kept between builds in a cache mount, under their checksum's protection: each is checked before it is used.
apt=(apt-get --quiet --quiet --assume-yes --no-install-recommends --allow-downgrades
    -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io
    -o Dir::Cache=/var/cache/aza-pg/apt -o APT::Update::Error-Mode=any)
if [[ -e $run/apt.conf ]]; then export APT_CONFIG=$run/apt.conf; fi
if [[ -e $run/apt.sources ]]; then
    apt+=(-o "Dir::Etc::SourceList=$run/apt.sources" -o Dir::Etc::SourceParts=/dev/null)
fi

installed() { dpkg-query --show --showformat='${db:Status-Abbrev}|${Package}|${Version}\n' | sed -n 's/^ii |//p'; }

check_complete() { # what apt would add beyond the list is missing in the lock
    local plan unlisted
    plan=$("${apt[@]}" --simulate install "${wanted[@]}") || die "the locked packages cannot be installed together, see above"
    unlisted=$(awk '/^Inst /{print $2}' <<<"$plan" | while read -r name; do
        [[ -n ${version[$name]:-} ]] || echo "$name"
    done)
    [[ -z $unlisted ]] || die "not in the lock, but needed by what is:" "$unlisted"
}

check_sums() { # every deb that is about to be installed is the one that was locked
    local archives=/var/cache/aza-pg/apt/archives name bad
    bad=$(for name in "${!file[@]}"; do
        if [[ -e $archives/${file[$name]} ]]; then echo "${sha256[$name]}  $archives/${file[$name]}"; fi
    done | sha256sum --check --strict --quiet - 2>&1) || {
        sed -n 's/: FAILED.*//p' <<<"$bad" | xargs --no-run-if-empty rm -f # or the next build would find them again
        die "not what was locked:" "$bad"
    }
}

verify() {
    local name have path entry missing=() places=() broken
    declare -A found=()
    while IFS='|' read -r name have; do found[$name]=$have; done < <(installed)
    for name in "${!version[@]}"; do
        [[ ${found[$name]:-} == "${version[$name]}" ]] ||
            missing+=("package $name: locked ${version[$name]}, installed ${found[$name]:-nothing}")
    done
    if [[ -e $locked/files ]]; then
        while read -r path entry; do
            [[ $path == '#'* || -e $path ]] || missing+=("file $path, of the extension $entry")
        done <"$locked/files"
    fi
    [[ ${#missing[@]} == 0 ]] || die "missing after the installation:" "${missing[@]}"

    # A shared library that cannot find another one would fail at the user's first CREATE EXTENSION.
    for path in /usr/lib/postgresql/*/lib /usr/lib/postgresql/*/bin /usr/sbin/pgbouncer /usr/bin/prometheus-*; do
        if [[ -e $path ]]; then places+=("$path"); fi
    done
    [[ ${#places[@]} != 0 ]] || return 0
    command -v ldd >/dev/null || die "ldd is not there"
    # ldd's exit code is of no use: it is 1 as soon as one of the files is a script or linked statically.
    broken=$({ find "${places[@]}" -type f \( -name '*.so' -o -perm /111 \) -exec ldd {} + 2>/dev/null || true; } |
        awk '/:$/{path=$1} /not found/{print path, $0}')
    [[ -z $broken ]] || die "shared libraries are missing:" "$broken"
}

install_locked() {
    local before added name
    before=$(installed | cut -d'|' -f1)
    mkdir -p /var/cache/aza-pg/apt/archives/partial
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d # no service starts during a build
    chmod 755 /usr/sbin/policy-rc.d
    "${apt[@]}" update
    check_complete
    "${apt[@]}" --download-only install "${wanted[@]}"
    check_sums
    "${apt[@]}" --no-download install "${wanted[@]}"
    rm /usr/sbin/policy-rc.d
    added=$(comm -13 <(sort <<<"$before") <(installed | cut -d'|' -f1 | sort))
    for name in $added; do
        [[ -n ${version[$name]:-} ]] || die "installed, but not in the lock: $name"
    done
}

clean() {
    # Not reproducible, or nobody's business: logs, caches, backups, the build machine's identity.
    rm -rf /var/cache/{apt,debconf,ldconfig,man,fontconfig}/* /var/lib/apt/lists/* /var/log/* /tmp/* /var/tmp/* \
        /etc/{passwd,group,shadow,gshadow,subuid,subgid}- /etc/.pwd.lock /run/adduser /var/lib/dpkg/*-old /var/backups/* \
        /var/lib/systemd/*
    : >/etc/machine-id
    sed -i -E 's/^([^:]*:[^:]*:)[0-9]*/\1/' /etc/shadow # the day on which an account was made
    # A private key in an image is everybody's key.
    rm -f /etc/ssl/private/ssl-cert-snakeoil.key /etc/ssl/certs/ssl-cert-snakeoil.pem
    find /etc/ssl/certs -xtype l -delete
    # Documentation, but for the licences; LLVM bitcode, of use only to a JIT that is not installed.
    find /usr/share/doc -mindepth 1 -not -type d -not -name copyright -delete
    find /usr/share/doc -mindepth 1 -type d -empty -delete
    rm -rf /usr/share/{man,info,lintian}/* /usr/lib/postgresql/*/lib/bitcode /usr/share/postgresql-common/*example*
    find /usr/lib -name __pycache__ -prune -exec rm -rf {} + # some extensions bring Python; it works without
    find / -xdev -type f -perm /6000 -exec chmod a-s {} +
}

case $command in
install)
    install_locked
    verify
    clean
    ;;
verify) verify ;;
*) die "unknown command '$command'" ;;
esac
