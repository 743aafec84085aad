#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Installs the Debian packages of packages.txt that are missing. Arguments:
# the purposes wanted, as in the second column there (default: build); a purpose
# like test/amd64 counts on machines of that Debian architecture alone. Does
# nothing, and says nothing, if all are there.
#
#     tools/install-packages.sh build quickstart
set -eu

list=$(dirname -- "$(readlink -f -- "$0")")/../packages.txt
[ $# -gt 0 ] || set -- build

here=$(dpkg --print-architecture 2> /dev/null || uname -m)
wanted=()
while read -r package purpose _; do
    case $package in '' | '#'*) continue ;; esac
    for each in "$@"; do
        case $purpose in "$each" | "$each/$here") wanted+=("$package") ;; esac
    done
done < "$list"

if ! command -v dpkg-query > /dev/null; then
    echo "mlog: this is not Debian; please see that you have: ${wanted[*]}" >&2
    exit 0
fi

# ${Package} as well as what it provides: pkg-config is pkgconf to some releases.
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}, ${Provides}\n' |
    sed -n 's/^installed //p' | sed 's/ *([^)]*)//g; s/, */\n/g')
missing=()
for package in "${wanted[@]}"; do
    grep -qxF -- "$package" <<< "$installed" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo > /dev/null; then
        echo "mlog: missing packages; as root, please run: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

echo "mlog: installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
    local pid shown
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 \
        -o DPkg::Lock::Timeout=300 "$@" > "$log" 2>&1 < /dev/null &
    pid=$!
    while [ -t 1 ] && kill -0 "$pid" 2> /dev/null; do
        shown=$(tail -n 1 "$log" | tr -cd '[:print:]')
        printf '\r\033[K  %.70s' "$shown"
        sleep 0.2
    done
    [ ! -t 1 ] || printf '\r\033[K'
    wait "$pid"
}
# An installation that was interrupted is finished first: dpkg refuses all else.
finish() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive dpkg --configure -a > "$log" 2>&1 \
        < /dev/null
}
# The package lists of a fresh machine are missing, those of an old one stale.
apt install -y --no-install-recommends "${missing[@]}" ||
    { apt update && apt install -y --no-install-recommends "${missing[@]}"; } ||
    { finish && apt install -y -f --no-install-recommends "${missing[@]}"; } || {
    cat "$log" >&2
    echo "mlog: apt-get could not install: ${missing[*]}" >&2
    exit 1
}
