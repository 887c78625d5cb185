#!/bin/sh
# Controls what is in this folder: a worker that `hive deploy ssh` has installed, or the home of a Hive (Redis and the
# gateway) that `hive home` has moved here:
#
#   sh control.sh start|stop|status|prepare|install|remove|run
#
# It is also run from stdin, with HIVE_DEPLOY_NAME, HIVE_DEPLOY_ACTION and HIVE_DEPLOY_KIND in front of it.
set -u
umask 077
# Homebrew's programs; neither ssh nor cron has them in PATH.
PATH=$PATH:/usr/local/bin:/opt/homebrew/bin
HIVE_DEPLOY_NAME=${HIVE_DEPLOY_NAME-}
HIVE_DEPLOY_ACTION=${HIVE_DEPLOY_ACTION-${1-}}
HIVE_DEPLOY_KIND=${HIVE_DEPLOY_KIND-worker}
PAUSE_S=${PAUSE_S-}
STOP_S=45 # a worker gives its jobs 30 s to finish or to save their state

say() { printf 'install: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

place() {
    if [ -n "$HIVE_DEPLOY_NAME" ]; then
        case $HIVE_DEPLOY_NAME in *[!a-z0-9-]*) die "$HIVE_DEPLOY_NAME cannot be the name of a worker" ;; esac
        case $HIVE_DEPLOY_KIND in worker | home) ;; *) die "there is no kind $HIVE_DEPLOY_KIND: worker or home" ;; esac
        folder=$HOME/.hive-$HIVE_DEPLOY_KIND/$HIVE_DEPLOY_NAME
    else
        folder=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
    fi
    VIA=venv CAPABILITIES='' PYTHON='' GPUS='' INSTALLED='' CONFIGURED='' NAME=$HIVE_DEPLOY_NAME KIND=$HIVE_DEPLOY_KIND
    # shellcheck source=/dev/null
    [ ! -f "$folder/deployed.conf" ] || . "$folder/deployed.conf"
    unit=hive-$KIND-$NAME
    image=hive-$KIND-$NAME
}

# --- the worker or the home itself, in the foreground -----------------------------------------------------------------
# A module of Hive, with the settings of this folder.
hive_module() {
    cd "$folder" || exit 1
    export HIVE_HOME="$folder/home"
    if [ -n "$PYTHON" ]; then
        export PYTHONPATH="$folder/source:$folder/source/workers"
        exec "$PYTHON" -m "$@"
    fi
    exec "$folder/venv/bin/python" -m "$@"
}

work() {
    case $KIND in
        home) hive_module hive up --foreground ;;
        worker) hive_module hive worker --name "$NAME" ;;
        *) die "there is no kind $KIND: worker or home" ;;
    esac
}

run() {
    refuse_parked
    echo $$ >"$folder/$KIND.pid"
    ended='' child='' ends=0
    echo 0 >"$folder/$KIND.ends"
    trap 'ended=yes; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM INT
    while [ -z "$ended" ]; do
        work &
        child=$!
        wait "$child"
        while [ -n "$ended" ] && kill -0 "$child" 2>/dev/null; do wait "$child"; done
        ends=$((ends + 1))
        echo "$ends" >"$folder/$KIND.ends"
        [ -n "$ended" ] || sleep 2
    done
    rm -f "$folder/$KIND.pid"
}

# The process of `run`; nothing if the process id belongs to another program by now.
runner() {
    pid=$(cat "$folder/$KIND.pid" 2>/dev/null) || return 1
    case $(ps -p "$pid" -o args= 2>/dev/null) in *"$folder/control.sh run"*) echo "$pid" ;; *) return 1 ;; esac
}

# A process and all below it.
family() {
    ps -A -o pid= -o ppid= | awk -v root="$1" '
        { parent[$1] = $2 }
        END { for (pid in parent) { one = pid; while (one > 1 && one in parent && one != root) one = parent[one]; if (one == root) print pid } }'
}

# --- what keeps it running --------------------------------------------------------------------------------------------
control_systemd() {
    export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}" # not every sshd sets it
    if [ "$(id -u)" = 0 ]; then systemctl "$@"; else systemctl --user "$@"; fi
}

unit_file() {
    if [ "$(id -u)" = 0 ]; then echo "/etc/systemd/system/$unit.service"
    else echo "$HOME/.config/systemd/user/$unit.service"; fi
}

# systemd expands %.
escaped() { printf '%s' "$1" | sed 's/%/%%/g'; }

start_systemd() {
    mkdir -p "$(dirname "$(unit_file)")"
    if [ "$(id -u)" = 0 ]; then wanted=multi-user.target; else wanted=default.target; fi
    cat >"$(unit_file)" <<EOS
[Unit]
Description=Hive $KIND $NAME
Wants=network-online.target
After=network-online.target
[Service]
ExecStart=/bin/sh "$(escaped "$folder/control.sh")" run
Environment="HOME=$(escaped "$HOME")"
Restart=always
RestartSec=2
KillMode=mixed
TimeoutStopSec=60
StandardOutput=append:$(escaped "$folder/$KIND.log")
StandardError=append:$(escaped "$folder/$KIND.log")
[Install]
WantedBy=$wanted
EOS
    if [ "$(id -u)" != 0 ]; then
        loginctl enable-linger || die "systemd may not run programs of $(id -un) without a login; run as root: loginctl enable-linger $(id -un)"
    fi
    if ! { control_systemd daemon-reload && control_systemd enable --quiet "$unit" && control_systemd restart "$unit"; }; then
        die "systemd does not start $unit; see there: systemctl status $unit"
    fi
}

reboot_line() { printf '@reboot sh "%s" start # %s' "$folder/control.sh" "$unit"; }

without_reboot_line() { crontab -l 2>/dev/null | grep -v -F "# $unit" || true; }

start_venv() {
    detach=$(command -v setsid || true)
    # shellcheck disable=SC2086 # empty if there is no setsid
    nohup $detach sh "$folder/control.sh" run >>"$folder/$KIND.log" 2>&1 </dev/null &
    if command -v crontab >/dev/null; then
        { without_reboot_line; reboot_line; echo; } | crontab - || say "crontab failed: after a restart of this machine, run: sh $folder/control.sh start"
    fi
    attempt=0
    while [ "$attempt" -lt 50 ]; do
        ! runner >/dev/null || return 0
        sleep 0.2
        attempt=$((attempt + 1))
    done
    die "the $KIND does not start; see there: $folder/$KIND.log"
}

start_docker() {
    # With this user's id, so that it owns the home on both sides; a worker opens no port.
    docker run --detach --name "$unit" --restart unless-stopped --network host --init --user "$(id -u):$(id -g)" \
        --volume "$folder/home:/var/lib/hive" --env HOME=/var/lib/hive --read-only --tmpfs /tmp:size=1g --shm-size 1g --cap-drop ALL \
        --security-opt no-new-privileges --log-opt max-size=10m ${GPUS:+--gpus all} \
        "$image" hive worker --name "$NAME" >/dev/null || die "Docker does not start the worker"
}

start() {
    refuse_parked
    stop
    rm -f "$folder/$KIND.ends"
    log=$folder/$KIND.log
    if [ -f "$log" ] && [ "$(wc -c <"$log")" -gt 10000000 ]; then mv -f "$log" "$log.1"; fi
    "start_$VIA"
    echo "$CONFIGURED" >"$folder/configured"
}

stop() {
    if [ "$VIA" = docker ]; then
        docker stop -t "$STOP_S" "$unit" >/dev/null 2>&1
        docker rm --force "$unit" >/dev/null 2>&1
        return 0
    fi
    [ ! -f "$(unit_file)" ] || control_systemd stop "$unit" 2>/dev/null
    pid=$(runner) || return 0
    processes=$(family "$pid")
    kill -TERM "$pid"
    waited=0
    while kill -0 "$pid" 2>/dev/null; do
        if [ "$waited" -ge $((STOP_S * 5)) ]; then
            # shellcheck disable=SC2086 # process ids
            kill -KILL $processes 2>/dev/null
            break
        fi
        sleep 0.2
        waited=$((waited + 1))
    done
    return 0
}

status() {
    if [ "$VIA" = docker ]; then
        [ "$(docker inspect --format '{{.State.Running}}' "$unit" 2>/dev/null)" != true ] || echo "running=yes"
        echo "ends=$(docker inspect --format '{{.RestartCount}}' "$unit" 2>/dev/null)"
        echo "log=$(docker logs --tail 1 "$unit" 2>&1)"
    else
        ! runner >/dev/null || echo "running=yes"
        echo "ends=$(cat "$folder/$KIND.ends" 2>/dev/null)"
        echo "log=$(tail -n 1 "$folder/$KIND.log" 2>/dev/null)"
    fi
}

# --- moving a home --------------------------------------------------------------------------------------------
# A parked folder holds a copy that is not anybody's home, and must not run.
refuse_parked() { [ ! -e "$folder/parked" ] || die "this home is elsewhere now; move it here with: hive home"; }

park() {
    : >"$folder/parked"
    stop
    [ ! -f "$(unit_file)" ] || control_systemd disable --quiet "$unit" 2>/dev/null
    (hive_module hive down) >/dev/null 2>&1 || [ ! -e "$folder/home/redis/redis.pid" ] || die "Redis does not stop"
}

unpark() { rm -f "$folder/parked"; }

count() { (hive_module hive.home.inventory count); }

# Whether a copy can be a home: starts it for a moment; it stays parked.
try_out() { (hive_module hive up) >/dev/null && (hive_module hive.home.inventory count); }

# The last count before a home moves: starts Redis alone, without writers until it stops.
measure() {
    (hive_module hive up --redis-only) >/dev/null || exit 1
    (hive_module hive.home.inventory count "$PAUSE_S") || exit 1
    (hive_module hive down) >/dev/null || exit 1
}

# Sizes and names of the home's files.
list() {
    cd "$folder/home" 2>/dev/null || return 0
    for part in redis/appendonlydir store/sha256 store/checkpoint; do
        [ ! -d "$part" ] || find "$part" -type f -exec wc -c {} +
    done
}

clear() { rm -rf "$folder/incoming"; }

# Moves files that have arrived completely to their place.
take() {
    cd "$folder/incoming" || exit 1
    if [ -d redis/appendonlydir ]; then
        rm -rf "$folder/home/redis/appendonlydir"
        if ! { mkdir -p "$folder/home/redis" && mv redis/appendonlydir "$folder/home/redis/"; }; then die "$folder cannot be written"; fi
    fi
    [ ! -d store ] || find store -type f | while IFS= read -r file; do
        mkdir -p "$folder/home/$(dirname "$file")" || exit 1
        mv -f "$file" "$folder/home/$file" || exit 1
    done || die "$folder cannot be written"
    rm -rf "$folder/incoming"
}

# --- installing and removing ------------------------------------------------------------------------------
install_with_python() {
    fits=$("$PYTHON" -c 'import sys; print((3, 11) <= sys.version_info < (3, 14))' 2>/dev/null)
    [ "$fits" = True ] || die "$PYTHON is not Python 3.11 to 3.13"
    export PYTHONPATH="$folder/source:$folder/source/workers"
    if ! { missing=$("$PYTHON" -m hive --version 2>&1 >/dev/null) && missing=$("$PYTHON" -c 'import hive.celery' 2>&1); }; then
        die "$PYTHON lacks libraries of Hive ($(printf '%s' "$missing" | tail -n 1)); leave out --python to install them"
    fi
}

# Stops what runs before its files change.
prepare() {
    stop
    rm -rf "$folder/source.new" "$folder/incoming"
}

install() {
    rm -rf "$folder/source.old"
    [ ! -d "$folder/source.new" ] || {
        [ ! -d "$folder/source" ] || mv "$folder/source" "$folder/source.old"
        mv "$folder/source.new" "$folder/source"
    }
    if [ "$VIA" = docker ]; then
        say "building the image $image"
        docker build --quiet --tag "$image" --build-arg "WORKER_CAPABILITIES=$CAPABILITIES" "$folder/source" \
            >"$folder/build.log" 2>&1 || die "Docker cannot build the image ($(tail -n 1 "$folder/build.log"))"
    elif [ -n "$PYTHON" ]; then
        install_with_python
    else
        export PIP_NO_CACHE_DIR=1 # the cache would stay in the home
        bash "$folder/source/tools/install.sh" "$folder/venv" "$CAPABILITIES" || exit 1
    fi
    [ "$KIND" != home ] || (hive_module hive.home.inventory can) >/dev/null || exit 1
    rm -rf "$folder/source.old"
    echo "$INSTALLED" >"$folder/installed"
}

remove() {
    stop
    if [ -f "$(unit_file)" ]; then
        control_systemd disable --quiet "$unit" 2>/dev/null
        rm -f "$(unit_file)"
        control_systemd daemon-reload 2>/dev/null
    fi
    if command -v crontab >/dev/null && crontab -l 2>/dev/null | grep -q -F "# $unit"; then
        without_reboot_line | crontab -
    fi
    if [ "$VIA" = docker ]; then
        docker rmi "$image" >/dev/null 2>&1
    fi
    rm -rf "$folder" || die "$folder cannot be removed"
    rmdir "$HOME/.hive-$KIND" 2>/dev/null
    return 0
}

main() {
    place
    case $HIVE_DEPLOY_ACTION in
        start | stop | status | prepare | install | remove | run | park | unpark | count | try_out | measure | list | clear | take) "$HIVE_DEPLOY_ACTION" ;;
        *) die "usage: sh control.sh start|stop|status|prepare|install|remove|run" ;;
    esac
}
main </dev/null
