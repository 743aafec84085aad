#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs programs of every kind under the library, into sinks of every kind, at
# random and two at a time, for some seconds (default an hour), and compares
# with the oracle. Prints the seed; the same seed makes the same choices.
#
#     tests/soak/run.sh [SECONDS [SEED]]
set -eu
here=$(dirname -- "$(readlink -f -- "$0")")
build=${MLOG_BUILD_DIR:-$here/../../build}
read -r python < "$build/tests/python-path"
MLOG_BUILD_DIR=$build PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/.. \
    exec "$python" "$here/soak.py" "${1:-3600}" "${2:-}"
