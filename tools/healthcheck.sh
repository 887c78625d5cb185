#!/usr/bin/env bash
# Is the container of this name well?  tools/healthcheck.sh gateway|worker
#
# The gateway is asked in plain bash: a Python that starts once a minute would cost the laptop more than the gateway.
set -euo pipefail

case ${1:-} in
gateway)
  exec 3<>"/dev/tcp/127.0.0.1/${HIVE_GATEWAY_PORT:-8000}"
  printf 'GET /healthcheck HTTP/1.0\r\nAuthorization: Bearer %s\r\n\r\n' "$(<"$HIVE_TOKEN_FILE")" >&3
  read -r -t 5 answer <&3
  [[ $answer == *' 200 '* ]]
  ;;
worker) hive workers --json | grep -qF "@$HOSTNAME\"" ;;
*)
  echo "usage: healthcheck.sh gateway|worker" >&2
  exit 2
  ;;
esac
