# The worker comes over ssh, from `hive fleet up`. Behind begin.sh.
#
# Where nobody brings one, because the machine that asked for this one has gone away, this one need not wait for its expiry.
printf '[Unit]\nDescription=End this machine if no worker has come\n[Service]\nType=oneshot\nExecStart=/bin/sh -c "[ -e %s ] || /usr/local/sbin/hive-end"\n' \
  "/var/lib/hive/.hive-worker/$HIVE_NAME/configured" >"$ROOT/etc/systemd/system/hive-unused.service"
printf '[Unit]\nDescription=End this machine if no worker has come\n[Timer]\nOnActiveSec=60min\n[Install]\nWantedBy=timers.target\n' \
  >"$ROOT/etc/systemd/system/hive-unused.timer"

# What this machine shows to be the right one.
mkdir -p "$ROOT/etc/ssh"
(umask 077; printf '%s\n' "$HIVE_HOST_KEY" >"$ROOT/etc/ssh/ssh_host_ed25519_key")
printf '%s\n' "$HIVE_HOST_KEY_PUBLIC" >"$ROOT/etc/ssh/ssh_host_ed25519_key.pub"

if [[ -n $wall ]]; then
  printf '[Unit]\nDescription=Keep tasks from the metadata service\n[Service]\nType=oneshot\nExecStart=%s\n[Install]\nWantedBy=multi-user.target\n' \
    "$wall" >"$ROOT/etc/systemd/system/hive-wall.service"
fi
systemctl daemon-reload
systemctl enable --now hive-unused.timer

# What tools/install.sh asks a system for that it may not change: the worker's user is nobody special.
packages=(ca-certificates cron iptables python3 python3-venv sudo)
[[ ,$HIVE_CAPABILITIES, != *,3d-generation[=,]* ]] || packages+=(libusb-1.0-0 libegl1 libgl1 libgl1-mesa-dri libx11-6 libgomp1)
install_packages "${packages[@]}"
# Ubuntu has PDAL as a package; where there is none, tools/install_pdal.sh finds another one, signed by Debian.
[[ ,$HIVE_CAPABILITIES, != *,gis[=,]* ]] || install_packages pdal || install_packages debian-archive-keyring || true
[[ -z $wall ]] || systemctl enable --now hive-wall.service
systemctl restart ssh

# The door opens last: whoever gets in finds everything there.
install -d -m 0700 "$ROOT/var/lib/hive/.ssh"
printf 'restrict,port-forwarding %s\n' "$HIVE_LET_IN" >"$ROOT/var/lib/hive/.ssh/authorized_keys"
chown -R hive:hive "$ROOT/var/lib/hive"
