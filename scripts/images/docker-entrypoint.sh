#!/bin/sh
# The entrypoint of the assembled `docker` images: turns what the job's environment says into what the docker CLI
# reads, by the rules that the upstream image follows, so that jobs written for it behave the same here.
set -eu

# A first argument that is a flag, or a command that docker knows, means `docker ARGUMENTS`.
case "${1:-}" in
  -*) set -- docker "$@" ;;
  ?*) if docker help "$1" >/dev/null 2>&1; then set -- docker "$@"; fi ;;
esac

has_certificates() {
  [ -n "${DOCKER_TLS_CERTDIR:-}" ] || return 1
  for file in ca cert key; do [ -s "$DOCKER_TLS_CERTDIR/client/$file.pem" ] || return 1; done
}

if [ -z "${DOCKER_HOST:-}" ]; then
  personal_socket="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/docker.sock"
  if [ -S /var/run/docker.sock ]; then
    DOCKER_HOST=unix:///var/run/docker.sock
  elif [ -S "$personal_socket" ]; then
    DOCKER_HOST=unix://$personal_socket
  elif [ -n "${DOCKER_TLS_VERIFY:-}" ] || has_certificates; then
    DOCKER_HOST=tcp://docker:2376
  else
    DOCKER_HOST=tcp://docker:2375
  fi
  export DOCKER_HOST
fi

case "$DOCKER_HOST" in
  tcp:*)
    if [ -z "${DOCKER_TLS_VERIFY:-}${DOCKER_CERT_PATH:-}" ] && has_certificates; then
      export DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH="$DOCKER_TLS_CERTDIR/client"
    fi
    ;;
esac

exec "$@"
