#!/usr/bin/env bash
# Makes a base image on a Debian machine that has podman and cannot pull images: `prepare.sh IMAGE`.
#
# The image is a small Debian of the same release as this machine, with what the images python:3.13-slim and redis bring:
# Python, redis-server, and /data for the user 999. It is made once and kept. In CI, podman and its parts are installed
# first; elsewhere this says what to install.
set -euo pipefail
image=${1:?usage: prepare.sh IMAGE}
CONTAINERS_CONF=$(dirname "$(readlink -f "$0")")/containers.conf
export CONTAINERS_CONF DEBIAN_FRONTEND=noninteractive
packages=(podman runc netavark aardvark-dns catatonit iptables mmdebstrap)
certificates=/etc/ssl/certs/ca-certificates.crt

die() { printf '%s\n' "$*" >&2; exit 1; }

is_installed() { [[ $(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) == *installed ]]; }

install_podman() {
  local package missing=()
  for package in "${packages[@]}"; do is_installed "$package" || missing+=("$package"); done
  ((${#missing[@]})) || return 0
  [[ -n ${CI:-} ]] || die "Containers need: apt-get install --no-install-recommends ${missing[*]}"
  apt-get -o DPkg::Lock::Timeout=600 update -qq
  apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# This machine's own mirror: behind a firewall it may be the only one.
mirror() {
  local found
  found=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources 2>/dev/null |
    grep -v '^ *#' | grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1) || true
  echo "${found:-http://deb.debian.org/debian}"
}

make_base() {
  local root=$scratch/root release
  release=$(. /etc/os-release && echo "$VERSION_CODENAME")
  mmdebstrap --quiet --variant=minbase --include=python3-venv,redis-server,ca-certificates --format=directory \
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' "$release" "$root" "$(mirror)" >&2
  cp "$certificates" "$root$certificates" # also those that this machine was given by its owner
  install -d -o 999 -g 999 -m 700 "$root/data"
  tar -C "$root" --exclude='./dev/*' -c . | podman import --quiet \
    --change "ENV SSL_CERT_FILE=$certificates PIP_CERT=$certificates" - "$image" >/dev/null
}

[[ $(id -u) == 0 && -e /etc/debian_version ]] || die "Without a Docker engine, containers need Debian and root"
# Tests in several processes come here at once.
exec 9>"${TMPDIR:-/tmp}/hive-test-base.lock"
flock 9
install_podman
podman image exists "$image" && exit
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch" # apt reads in it as the user _apt
make_base
