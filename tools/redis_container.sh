#!/bin/sh
# Starts Redis in its container: what every Redis of a Hive has, and its users with the digests of their passwords.
#
# Passwords go from their files into a configuration in memory: on the command line, `ps` would show them.
set -eu
umask 077

digest() { sha256sum "/run/secrets/$1" | cut -c -64; }

users() {
  grep -v '^#' /etc/hive/users.conf | tr -s ' \n' ' ' | sed \
    -e "s/{admin}/#$(digest redis.password)/" \
    -e "s/{submitter}/#$(digest submitter.password)/" \
    -e "s/{gateway}/#$(digest gateway.password)/" \
    -e "s/{worker}/#$(digest worker.password)/" \
    -e 's/{user}/worker/g' -e 's/ "[^"]*"//g' -e 's/{queue}/*/g' -e 's/ user /\nuser /g'
}

{
  cat /etc/hive/redis.conf
  # Beyond maxmemory a job is refused with a reason; beyond the container's limit Redis would be killed.
  printf '%s\n' 'dir /data' 'maxmemory 480mb'
  users
} >/tmp/redis.conf
exec redis-server /tmp/redis.conf
