#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The Debian packages, from nothing: a bare Debian 12 in a folder (debootstrap)
# in which the committed tree is built twice and must give the same bytes, pass
# lintian, install, pass debian/tests/session and leave nothing when purged.
# Needs root, apt's network and some ten minutes; not part of tests/run.sh.
#
#     tests/packages.sh [DIRECTORY]     (default: build/packages; the .deb stay there)
set -eu

root=$(dirname -- "$(readlink -f -- "$0")")/..
cd "$root"
out=${1:-build/packages}
mkdir -p "$out"
out=$(readlink -f -- "$out")
chroot=$out/chroot
unset LD_PRELOAD MLOG_OUT
export LC_ALL=C.UTF-8

[ "$(id -u)" -eq 0 ] || { echo "packages: root is needed for a chroot" >&2; exit 77; }
tools/install-packages.sh package

unmount() { umount "$chroot/proc" 2> /dev/null || true; }
trap unmount EXIT

mirror=$(sed -n 's/^deb \(\[[^]]*\] \)\?\([^ ]*\) .*/\2/p; s/^URIs: *\([^ ]*\).*/\1/p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/* 2> /dev/null | head -n 1)
if [ ! -e "$chroot/.whole" ]; then
    echo "packages: a bare Debian 12 in $chroot"
    rm -rf "$chroot"
    debootstrap --variant=minbase bookworm "$chroot" "${mirror:-http://deb.debian.org/debian}" \
        > "$out/debootstrap.log" 2>&1 || { tail "$out/debootstrap.log" >&2; exit 1; }
    touch "$chroot/.whole"
fi
mount -t proc proc "$chroot/proc"
cp -L /etc/resolv.conf "$chroot/etc/resolv.conf" 2> /dev/null || true
cp /etc/apt/apt.conf.d/*proxy* "$chroot/etc/apt/apt.conf.d/" 2> /dev/null || true

# The committed tree: what is not in git is in no package.
rm -rf "$chroot/src" "$chroot/elsewhere"
mkdir -p "$chroot/src/mlog" "$chroot/elsewhere/deep/down/mlog"
git archive HEAD | tar -x -C "$chroot/src/mlog"
git archive HEAD | tar -x -C "$chroot/elsewhere/deep/down/mlog"

inside() { chroot "$chroot" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"; }
step() {
    local log=$1
    shift
    inside "$@" > "$out/$log.log" 2>&1 < /dev/null ||
        { tail -n 40 "$out/$log.log" >&2; echo "packages: failed: $* ($out/$log.log)" >&2; exit 1; }
}

echo "packages: building twice"
step update apt-get update -q
step tools apt-get install -qy --no-install-recommends dpkg-dev build-essential
step depends sh -c 'cd /src/mlog && apt-get build-dep -qy --no-install-recommends ./'
step build sh -c 'cd /src/mlog && dpkg-buildpackage -us -uc -b'
step again sh -c 'cd /elsewhere/deep/down/mlog && umask 027 && TZ=Asia/Tokyo dpkg-buildpackage -us -uc -b'
for package in "$chroot"/src/*.deb; do
    cmp "$package" "$chroot/elsewhere/deep/down/${package##*/}" ||
        { echo "packages: ${package##*/} is not reproducible" >&2; exit 1; }
done
cp "$chroot"/src/*.deb "$chroot"/src/*.changes "$chroot"/src/*.buildinfo "$out"

echo "packages: lintian"
lintian --allow-root --fail-on error,warning "$out"/*.changes

echo "packages: a session, as a user types it"
# What building needed is not there to help.
step remove sh -c 'apt-get -qy purge meson "lib*-dev" && apt-get -qy autoremove --purge'
step install sh -c 'apt-get install -qy --no-install-recommends /src/libmlog_*.deb /src/mlog_*.deb /src/libmlog-dev_*.deb'
needs=$(sed -n 's/^Depends: @, *//p' debian/tests/control | tr -d ,)
# shellcheck disable=SC2086 # words are wanted
step needs apt-get install -qy --no-install-recommends $needs
step session bash /src/mlog/debian/tests/session
tail -n 1 "$out/session.log"
step purge dpkg --purge libmlog mlog libmlog-dev
left=$(inside find /usr /etc /var/lib -iname '*mlog*' -not -path '/var/lib/apt/*')
[ -z "$left" ] || { echo "packages: left behind after purge: $left" >&2; exit 1; }
echo "packages: ok: $(cd "$out" && echo ./*.deb)"
