# shellcheck shell=bash
# `hive fleet up` installs the worker over ssh. Follows begin.sh.
#
# If no worker is installed, because the computer that rented this machine has gone away, do not wait for the expiry.
printf '[Unit]\nDescription=End this machine if no worker was installed\n[Service]\nType=oneshot\nExecStart=/bin/sh -c "[ -e %s ] || /usr/local/sbin/hive-end"\n' \
  "/var/lib/hive/.hive-worker/$HIVE_NAME/configured" >"$ROOT/etc/systemd/system/hive-unused.service"
printf '[Unit]\nDescription=End this machine if no worker was installed\n[Timer]\nOnActiveSec=60min\n[Install]\nWantedBy=timers.target\n' \
  >"$ROOT/etc/systemd/system/hive-unused.timer"

# The host key by which Hive recognizes this machine.
mkdir -p "$ROOT/etc/ssh"
(umask 077; printf '%s\n' "$HIVE_HOST_KEY" >"$ROOT/etc/ssh/ssh_host_ed25519_key")
printf '%s\n' "$HIVE_HOST_KEY_PUBLIC" >"$ROOT/etc/ssh/ssh_host_ed25519_key.pub"

if [[ -n $wall ]]; then
  printf '[Unit]\nDescription=Keep tasks from the metadata service\n[Service]\nType=oneshot\nExecStart=%s\n[Install]\nWantedBy=multi-user.target\n' \
    "$wall" >"$ROOT/etc/systemd/system/hive-wall.service"
fi
systemctl daemon-reload
systemctl enable --now hive-unused.timer

# The packages that tools/install.sh needs: the worker's user may not install any.
packages=(ca-certificates cron iptables python3 python3-venv sudo)
[[ ,$HIVE_CAPABILITIES, != *,3d-generation[=,]* ]] || packages+=(libusb-1.0-0 libegl1 libgl1 libgl1-mesa-dri libx11-6 libgomp1)
install_packages "${packages[@]}"
# Ubuntu has a PDAL package; on other systems tools/install_pdal.sh fetches one, signed by Debian.
[[ ,$HIVE_CAPABILITIES, != *,gis[=,]* ]] || install_packages pdal || install_packages debian-archive-keyring || true
[[ -z $wall ]] || systemctl enable --now hive-wall.service
systemctl restart ssh

# Hive's key is authorized last: whoever logs in finds everything installed.
install -d -m 0700 "$ROOT/var/lib/hive/.ssh"
printf 'restrict,port-forwarding %s\n' "$HIVE_AUTHORIZED_KEY" >"$ROOT/var/lib/hive/.ssh/authorized_keys"
chown -R hive:hive "$ROOT/var/lib/hive"
