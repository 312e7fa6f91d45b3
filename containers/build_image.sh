#!/bin/sh
# Builds the image of the environment with podman or docker, and writes it out for other engines.
#
#   build_image.sh [build|export]    only that part
#   BASE=...                         the base image, when not the Containerfile's default
#
# The image's tag comes from what goes into it: one change, another name. Beside it, in build/images: the list of its
# packages (SBOM), an archive (OCI), and, where the tools for it are installed, a folder for Charliecloud and a SIF for
# Apptainer and Singularity.
set -eu
cd "$(CDPATH='' cd -P "$(dirname "$0")" && pwd)"
part=${1:-all}

for engine in podman docker; do
    if command -v "$engine" > /dev/null && "$engine" info > /dev/null 2>&1; then break; fi
    engine=
done
if [ -z "$engine" ]; then
    echo "immune-aging: neither podman nor docker works here; an image needs one of them" >&2
    exit 1
fi

tag=localhost/immune-aging:$(cat Containerfile requirements.lock | sha256sum | cut -c 1-12) # as in conf/containers.config
mkdir -p ../build/images
images=$(CDPATH='' cd ../build/images && pwd)
path=$images/immune-aging-${tag##*:}
new=$images/new.$$
trap 'rm -rf "$new"*' EXIT
finish() { # what was written, its final name: whole or not at all
    rm -rf "$2"
    mv "$1" "$2"
    echo "$2: $(du -sm "$2" | cut -f 1) MB"
}

if [ "$part" != export ]; then
    set -- --tag "$tag" --file Containerfile
    [ -z "${BASE:-}" ] || set -- "$@" --build-arg "BASE=$BASE"
    # Without podman's copies of intermediate steps, which would take three times the space of the image, and with
    # the network and the certificates of this machine, so that its proxy works inside too.
    [ "$engine" = docker ] || set -- "$@" --layers=false --volume /etc/ssl/certs:/etc/ssl/certs:ro
    started=$(date +%s)
    "$engine" build --network=host "$@" .
    echo "$tag: $("$engine" image inspect --format '{{.Size}}' "$tag") bytes, built in $(($(date +%s) - started)) s"
    "$engine" run --rm --interactive --network none "$tag" python -c "$(cat sbom.py)" < requirements.lock > "$new.json"
    finish "$new.json" "$path.cdx.json"
fi

if [ "$part" != build ]; then
    format=docker-archive
    if [ "$engine" = podman ]; then
        format=oci-archive
        "$engine" save --quiet --format "$format" --output "$new.tar" "$tag"
    else
        "$engine" save --output "$new.tar" "$tag"
    fi
    finish "$new.tar" "$path.tar"
    for builder in apptainer singularity; do
        if command -v "$builder" > /dev/null; then
            "$builder" build "$new.sif" "$format:$path.tar"
            finish "$new.sif" "$path.sif"
            break
        fi
    done
    if command -v ch-convert > /dev/null; then
        ch-convert --in-fmt "$engine" --out-fmt dir "$tag" "$new.folder"
        # Where inputs and results are shown inside: ch-run makes no folder in an image that it may not write to.
        for top in /*/; do mkdir -p "$new.folder$top"; done
        finish "$new.folder" "$path"
    fi
fi
