# shellcheck shell=bash
# The first start of a rented machine, as root. `hive fleet up` puts the values in front of this, and first_start.sh or
# over_ssh.sh behind it. What ends the machine comes first, so that it ends even if the rest fails. Only tests set
# HIVE_ROOT.
set -euo pipefail
ROOT=${HIVE_ROOT:-}
umask 022
mkdir -p "$ROOT"/usr/local/sbin "$ROOT"/etc/systemd/system "$ROOT"/etc/sudoers.d "$ROOT"/opt "$ROOT"/var/lib
install -d -m 0700 "$ROOT/etc/hive"

if [[ -n $HIVE_END_SCRIPT ]]; then
  (umask 077; printf '%s' "$HIVE_END_SCRIPT" >"$ROOT/etc/hive/end.sh")
fi
cat >"$ROOT/usr/local/sbin/hive-end" <<'END'
#!/bin/bash
# Ends this machine.
[[ ! -r $ROOT/etc/hive/end.sh ]] || bash "$ROOT/etc/hive/end.sh"
systemctl poweroff || shutdown -h now
END
sed -i "2a ROOT='$ROOT'" "$ROOT/usr/local/sbin/hive-end"
chmod 0755 "$ROOT/usr/local/sbin/hive-end"
printf '[Unit]\nDescription=End this machine at its expiry\n[Service]\nType=oneshot\nExecStart=/usr/local/sbin/hive-end\n' \
  >"$ROOT/etc/systemd/system/hive-expiry.service"
printf '[Unit]\nDescription=End this machine at its expiry\n[Timer]\nOnCalendar=%s\nAccuracySec=1s\nPersistent=true\n[Install]\nWantedBy=timers.target\n' \
  "$HIVE_EXPIRES" >"$ROOT/etc/systemd/system/hive-expiry.timer"
systemctl daemon-reload
systemctl enable --now hive-expiry.timer
trap 'echo "hive: the worker could not be installed (line $LINENO); this machine ends" >&2; "$ROOT/usr/local/sbin/hive-end"' ERR

id hive >/dev/null 2>&1 || useradd --system --create-home --home-dir /var/lib/hive --shell "$HIVE_SHELL" hive
printf 'hive ALL=(root) NOPASSWD: /usr/local/sbin/hive-end\n' >"$ROOT/etc/sudoers.d/hive"
chmod 0440 "$ROOT/etc/sudoers.d/hive"

# Tasks must not read this script with its secrets from the metadata service; a spot machine's notice comes from there.
wall='OUTPUT -d 169.254.169.254 -m owner --uid-owner hive -j REJECT'
[[ $HIVE_IS_SPOT == no ]] && wall="/bin/sh -c 'iptables -C $wall 2>/dev/null || iptables -A $wall'" || wall=
export DEBIAN_FRONTEND=noninteractive
apt-get -o Acquire::Retries=5 update -qq
install_packages() { apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "$@" >/dev/null; }
