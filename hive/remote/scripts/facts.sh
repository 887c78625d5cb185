#!/bin/sh
# Prints what a machine is and has, one `name=value` per line. The caller sets NAME, the name of the worker (KIND worker)
# or of the home (KIND home), and PORT, where its tunnel ends, or empty.
NAME=${NAME-} KIND=${KIND-} PORT=${PORT-}

# Whether PORT is open to the machine's network, not only to the machine itself.
is_exposed() {
    if [ -r /proc/net/tcp ]; then
        cat /proc/net/tcp /proc/net/tcp6 |
            awk -v end=":$(printf '%04X' "$PORT")$" '$4 == "0A" && $2 ~ "^0+" end { found = 1 } END { exit !found }'
    else
        netstat -an -p tcp | grep LISTEN | grep -q "[*][.]$PORT "
    fi
}

facts() {
    PATH=$PATH:/usr/local/bin:/opt/homebrew/bin # Homebrew's programs, which ssh does not have in PATH
    folder=$HOME/.hive-$KIND/$NAME
    echo "system=$(uname -s)"
    echo "machine=$(uname -m)"
    [ ! -r /etc/os-release ] || echo "release=$(. /etc/os-release && echo "$PRETTY_NAME")"
    echo "user=$(id -un)"
    echo "uid=$(id -u)"
    echo "home=$HOME"
    echo "cores=$(getconf _NPROCESSORS_ONLN)"
    if [ -r /proc/meminfo ]; then
        echo "memory_kib=$(awk '/^MemTotal:/ {print $2}' /proc/meminfo)"
    else
        echo "memory_kib=$(($(sysctl -n hw.memsize) / 1024))"
    fi
    echo "free_kib=$(df -Pk "$HOME" | awk 'NR == 2 {print $4}')"
    if command -v nvidia-smi >/dev/null; then
        nvidia-smi --query-gpu=name --format=csv,noheader | while read -r gpu; do echo "gpu=$gpu"; done
    fi
    if command -v docker >/dev/null; then
        echo "docker=$(docker version --format '{{.Server.Version}}' 2>&1 | tail -n 1)"
        docker version >/dev/null 2>&1 && echo "docker_answers=yes"
    fi
    for name in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            echo "python=$(command -v "$name")"
            break
        fi
    done
    [ ! -d /run/systemd/system ] || echo "systemd=yes"
    command -v bash >/dev/null && echo "bash=yes"
    mkdir -p "$folder" 2>/dev/null && : 2>/dev/null >"$folder/.probe" && rm -f "$folder/.probe" && echo "writable=yes"
    [ ! -f "$folder/installed" ] || echo "installed=$(cat "$folder/installed")"
    [ ! -f "$folder/configured" ] || echo "configured=$(cat "$folder/configured")"
    [ ! -e "$folder/parked" ] || echo "parked=yes"
    [ ! -f "$folder/control.sh" ] || sh "$folder/control.sh" status
    [ -z "$PORT" ] || ! is_exposed || echo "exposed=yes"
    # These were created only to test whether they can be.
    rmdir "$folder" "$HOME/.hive-$KIND" 2>/dev/null
    return 0
}
facts </dev/null 2>/dev/null
