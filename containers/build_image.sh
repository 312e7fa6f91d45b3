#!/bin/sh
# Builds the image of the environment with podman or docker. Its tag comes from what goes into it: one change, another name.
#   BASE    the base image, when not the Containerfile's default
set -eu
cd "$(CDPATH='' cd -P "$(dirname "$0")" && pwd)"

for engine in podman docker; do
    if command -v "$engine" > /dev/null && "$engine" info > /dev/null 2>&1; then break; fi
    engine=
done
if [ -z "$engine" ]; then
    echo "immune-aging: neither podman nor docker works here; an image needs one of them" >&2
    exit 1
fi

tag=localhost/immune-aging:$(cat Containerfile requirements.lock | sha256sum | cut -c 1-12) # as in nextflow.config
set -- --tag "$tag" --file Containerfile
[ -z "${BASE:-}" ] || set -- "$@" --build-arg "BASE=$BASE"
# The network and the certificates of this machine, so that its proxy works inside too.
[ "$engine" = docker ] || set -- "$@" --volume /etc/ssl/certs:/etc/ssl/certs:ro
started=$(date +%s)
"$engine" build --network=host "$@" .
echo "$tag: $("$engine" image inspect --format '{{.Size}}' "$tag") bytes, built in $(($(date +%s) - started)) s"
