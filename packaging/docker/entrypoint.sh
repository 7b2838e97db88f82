#!/bin/sh
# What a container begins with: makes the account `rabbitmq` of root, and says where the data are.
set -eu

# A volume may have been made by root, or by another account with that name.
if [ "$(id -u)" = 0 ]; then
  case ${1:-} in
    rabbitmq-server)
      mkdir -p /var/lib/rabbitmq
      find /var/lib/rabbitmq ! -user rabbitmq -exec chown -h rabbitmq '{}' +
      exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups "$0" "$@"
      ;;
    rabbitmq*) exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups "$0" "$@" ;;
  esac
fi

# The folder of the image is for those who name none.
if [ -n "${RABBITMQ_MNESIA_DIR:-}${RABBITMQ_MNESIA_BASE:-}" ] \
  && [ "${LEVERET_DATA_DIR:-}" = /var/lib/rabbitmq/mnesia/leveret ]; then
  unset LEVERET_DATA_DIR
fi
# With a whole name of the machine, the node has that, too.
if [ -z "${RABBITMQ_USE_LONGNAME:-}" ]; then
  case $(uname -n) in
    *.*) export RABBITMQ_USE_LONGNAME=true ;;
  esac
fi

exec "$@"
