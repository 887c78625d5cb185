# shellcheck shell=bash
# The machine installs its worker itself, from the URL of a package. Follows begin.sh.
install -d -m 0700 "$ROOT/var/lib/hive/home"
printf '%s' "$HIVE_IDENTITY" | base64 -d | tar -xz --no-same-owner -C "$ROOT/var/lib/hive/home"
chmod -R go= "$ROOT/var/lib/hive/home"
chown -R hive:hive "$ROOT/var/lib/hive"

install_packages ca-certificates curl iptables python3 python3-venv sudo
package=$ROOT/opt/${HIVE_PACKAGE##*/}
curl -sSfL --retry 5 --retry-connrefused --max-time 600 -o "$package" "$HIVE_PACKAGE"
[[ -z $HIVE_PACKAGE_SHA256 ]] || echo "$HIVE_PACKAGE_SHA256  $package" | sha256sum --check --quiet
if [[ $package == *.whl ]]; then
  python3 -m venv "$ROOT/opt/hive"
  "$ROOT/opt/hive/bin/python" -m pip install --quiet --disable-pip-version-check "$package${HIVE_EXTRAS:+[$HIVE_EXTRAS]}"
else
  mkdir -p "$ROOT/opt/hive-source"
  tar -xz --strip-components=1 --no-same-owner -C "$ROOT/opt/hive-source" -f "$package"
  "$ROOT/opt/hive-source/tools/install.sh" "$ROOT/opt/hive" "$HIVE_CAPABILITIES"
fi

printf '%s' "$HIVE_ENVIRONMENT" >"$ROOT/etc/hive/worker.env"
cat >"$ROOT/etc/systemd/system/hive-worker.service" <<END
[Unit]
Description=Hive worker $HIVE_NAME
Wants=network-online.target
After=network-online.target
[Service]
User=hive
Environment=HIVE_HOME=/var/lib/hive/home
EnvironmentFile=/etc/hive/worker.env
WorkingDirectory=/var/lib/hive
${wall:+ExecStartPre=+$wall}
ExecStart=/opt/hive/bin/hive worker --name $HIVE_NAME
Restart=always
RestartSec=5
KillMode=mixed
TimeoutStopSec=60
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl enable --now hive-worker.service
