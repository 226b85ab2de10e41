#!/usr/bin/env bash
# Prints the folder of the Python environment for this checkout's lock file; makes it first when it is missing.
# The environment lives outside the checkout, is keyed by the lock file, and is shared between checkouts.
set -euo pipefail
cd "$(dirname "$0")/.."

cache="${MOORING_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mooring}"
say() { echo "$*" >&2; }

find_python() {
  local candidate
  for candidate in "${MOORING_PYTHON:-}" python3.11 python3.12 python3.13 python3; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing python3-venv from Debian (about 20 s)"
    apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-venv >&2
    command -v python3
    return
  fi
  say "mooring: no Python 3.11 or newer with the venv module was found. Install python3 and python3-venv, or set MOORING_PYTHON."
  exit 1
}

python="$(find_python)"
key="$( (cat requirements.lock; "$python" -V) | sha256sum | cut -c1-16)"
venv="$cache/venv-$key"
if [ ! -e "$venv/.complete" ]; then
  mkdir -p "$cache"
  exec 9>"$cache/venv.lock"
  flock 9
  if [ ! -e "$venv/.complete" ]; then
    say "making the Python environment from requirements.lock (about 1 min)"
    rm -rf "$venv"
    "$python" -m venv "$venv" >&2
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock >&2
    touch "$venv/.complete"
  fi
fi
echo "$venv"
