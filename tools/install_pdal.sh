#!/usr/bin/env bash
# Make the `pdal` program available to one virtual environment:  tools/install_pdal.sh VENV
#
# PDAL is a C++ program: PyPI has no binary of it, and Debian dropped the package after bullseye. The ways are tried
# from the least to the most work; the first that gives a `pdal` which runs wins. Running it again changes nothing.
set -euo pipefail
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

fail() { printf '%s\n' "$*" >&2; exit 1; }
# The exit status counts, not the output: with the libraries of two Debian releases mixed, pdal prints, then crashes.
works() { "$1" --version >/dev/null 2>&1; }
version() { "$1" --version 2>/dev/null | sed -n 's/.*pdal[^0-9]*\([0-9][0-9.]*\).*/\1/p' | head -n 1; }
finish() { printf 'PDAL %s in %s\n' "$(version "$1")" "$2" >&2; exit 0; }

[ $# -eq 1 ] || fail "Usage: tools/install_pdal.sh VENV"
[ -x "$1/bin/python" ] || fail "$1 is not a virtual environment. Make one: python3 -m venv '$1'"
venv=$(cd -- "$1" && pwd)
prefix=$venv/pdal
wrapper=$venv/bin/pdal
scratch=$(mktemp -d)
partial=
trap 'rm -rf -- "$scratch" ${partial:+"$partial"}' EXIT

# The launcher: $1 = settings (sh lines that may use $prefix), $2 = the program, relative to the prefix.
# It finds its folder at run time, so it also works through a symlink, from a folder with spaces, in a venv that moved.
write_wrapper() {
    cat >"$wrapper.new" <<EOS
#!/bin/sh
# Written by tools/install_pdal.sh: starts the PDAL of this virtual environment with its own libraries and data.
self=\$0
while [ -L "\$self" ]; do
    link=\$(readlink "\$self")
    case \$link in /*) self=\$link ;; *) self=\$(dirname "\$self")/\$link ;; esac
done
prefix=\$(CDPATH='' cd -- "\$(dirname "\$self")/../pdal" && pwd -P) || exit 127
$1
exec "\$prefix/$2" "\$@"
EOS
    chmod 755 "$wrapper.new"
    mv -f -- "$wrapper.new" "$wrapper"
}

# A prefix that does not run here (a host older than bullseye, a broken download) must not stay as if it did.
keep_if_it_works() {
    works "$wrapper" && finish "$wrapper" "$1/pdal ($2)"
    rm -rf -- "$prefix" "$wrapper"
}

# --- 0 and 1: already there ------------------------------------------------------------------------------------------
works "$wrapper" && finish "$wrapper" "$1 (already installed)"
works pdal && finish pdal "$(dirname "$(command -v pdal)") (already on PATH)"

# --- 2: conda-forge, the packaging that PDAL's authors recommend -----------------------------------------------------
for conda in micromamba mamba conda; do
    command -v "$conda" >/dev/null || continue
    rm -rf -- "$prefix"
    # Not extracted aside and renamed like Debian's: conda writes the final path into the files it installs.
    if "$conda" create -y -p "$prefix" -c conda-forge --override-channels pdal >"$scratch/log" 2>&1; then
        # PROJ_LIB is called PROJ_DATA since PROJ 9.1, which prefers it.
        write_wrapper "share=\$prefix/share
export PROJ_LIB=\"\$share/proj\" PROJ_DATA=\"\$share/proj\" GDAL_DATA=\"\$share/gdal\"" bin/pdal
        keep_if_it_works "$1" "conda-forge"
    fi
    rm -rf -- "$prefix"
done

# --- 3: macOS --------------------------------------------------------------------------------------------------------
if [ "$(uname -s)" = Darwin ]; then
    command -v brew >/dev/null || fail "PDAL comes from Homebrew here: install https://brew.sh, then run: brew install pdal"
    brewed=$(brew --prefix)/bin
    { brew install pdal >"$scratch/log" 2>&1 && works "$brewed/pdal"; } || fail "PDAL failed; see why: brew install pdal"
    finish "$brewed/pdal" "$brewed (Homebrew)"
fi

# --- 4: the system's own package (Ubuntu has one) --------------------------------------------------------------------
if [ "$(id -u)" -eq 0 ] && apt-cache policy pdal 2>/dev/null | grep -q 'Candidate: [0-9]'; then
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends pdal >"$scratch/log" 2>&1 || true
    works pdal && finish pdal "$(dirname "$(command -v pdal)") (system package)"
fi

# --- 5: Debian bullseye's PDAL with everything it links to, unpacked into VENV/pdal; the system is not changed --------
# The host's own mirrors first: behind a firewall they may be the only ones. Debian's archive keeps what mirrors drop.
mirrors() {
    {
        cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{sources,list} 2>/dev/null | grep -v '^ *#' || true
        printf '%s\n' http://deb.debian.org/debian http://archive.debian.org/debian
    } | grep -oE 'https?://[^ ]+/debian/?( |$)' | sed 's|/* *$||' | awk '!seen[$0]++'
}

# A private apt: `-c` is read after the host's apt.conf.d, whose proxy and certificates hold; only these lines differ.
write_apt_config() {
    mkdir -p "$scratch"/{lists,archives}/partial "$scratch/none"
    : >"$scratch/status" # nothing installed: the download is then complete, whatever the host has
    cat >"$scratch/apt.conf" <<EOS
Dir::Etc::SourceList "$scratch/sources.list"; Dir::Etc::SourceParts "$scratch/none";
Dir::Etc::Preferences "/dev/null"; Dir::Etc::PreferencesParts "$scratch/none"; Dir::State::status "$scratch/status";
Dir::State "$scratch"; Dir::State::Lists "$scratch/lists"; Dir::Cache "$scratch"; Dir::Cache::Archives "$scratch/archives";
APT::Sandbox::User "root"; // else apt becomes _apt, who cannot write here
Acquire::Languages "none"; Acquire::http::Timeout "20"; Acquire::https::Timeout "20";
#clear APT::Default-Release;
#clear APT::Update; // hooks that act on the real system
EOS
}

# Fetch the packages from the mirror $1. Only what Debian's key has signed is accepted.
download() {
    printf "deb [arch=$(dpkg --print-architecture) signed-by=$keyring] %s main\n" \
        "$1 bullseye" "$1-security bullseye-security" >"$scratch/sources.list"
    rm -f -- "$scratch"/archives/*.deb # of a mirror that failed half-way
    # No verdict on `update`: the security archive may be missing. `install` knows whether there is a PDAL.
    apt-get -c "$scratch/apt.conf" -q update >"$scratch/log" 2>&1 || true
    apt-get -c "$scratch/apt.conf" -q -y -d --no-install-recommends install pdal >>"$scratch/log" 2>&1
}

unpack() {
    local deb
    for deb in "$scratch"/archives/*.deb; do
        case $(basename "$deb") in
            # The host's C and C++ runtime must serve: it is newer, and libc has to match the host's loader.
            libc6_* | libgcc-s1_* | libstdc++6_* | libcrypt1_* | gcc-*-base_*) ;;
            # Pulled in for the packages' install scripts, which are not run.
            base-files_* | coreutils_* | debconf_* | dpkg_* | perl*_* | libperl*_* | sensible-utils_* | tar_* | ucf_*) ;;
            *) dpkg -x "$deb" "$1" ;;
        esac
    done
    rm -rf -- "$1"/usr/share/{bug,doc,doc-base,info,lintian,locale,man}
}

triplet=$(uname -m)-linux-gnu
if [[ $triplet =~ ^(x86_64|aarch64)- ]] && command -v apt-get >/dev/null && command -v dpkg >/dev/null; then
    [ -r "$keyring" ] || fail "Debian's keys are missing, PDAL cannot be verified: apt-get install debian-archive-keyring"
    write_apt_config
    for mirror in $(mirrors); do
        download "$mirror" || continue
        partial=$(mktemp -d "$venv/pdal.partial.XXXX")
        unpack "$partial"
        rm -rf -- "$prefix"
        mv -- "$partial" "$prefix"
        # GDAL_DRIVER_PATH: GDAL must not load the host's plugins, which are built for another version of it.
        write_wrapper "lib=\$prefix/usr/lib/$triplet share=\$prefix/usr/share
export LD_LIBRARY_PATH=\"\$prefix/usr/lib:\$lib:\$lib/blas:\$lib/lapack:\$prefix/lib/$triplet\"
export PROJ_LIB=\"\$share/proj\" GDAL_DATA=\"\$share/gdal\" GDAL_DRIVER_PATH=\"\$lib/gdalplugins\"" usr/bin/pdal
        keep_if_it_works "$1" "Debian bullseye"
    done
fi

# --- 6: the user's turn ----------------------------------------------------------------------------------------------
reason=$(grep '^E:' "$scratch/log" 2>/dev/null | tail -n 1 || true)
fail "PDAL could not be installed${reason:+ ($reason)}: run conda install -c conda-forge pdal, or on a Mac brew install pdal"
