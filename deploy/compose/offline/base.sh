#!/bin/sh
# Makes the base of the images in offline.yml of Debian's packages: base.sh [IMAGE]. Needs root, debootstrap and a running
# Docker daemon. Of this machine's own version of Debian, so that binaries that were built here find their libraries.
set -eu
image=${1:-hive-mind-base:local}
if [ "$(id -u)" != 0 ]; then
    echo "base.sh: debootstrap needs root: run this once as root, or give a Debian of a registry its name: docker tag debian:bookworm-slim $image" >&2
    exit 1
fi
suite=bookworm
if grep -q '^ID=debian$' /etc/os-release; then suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release); fi
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
# What the Dockerfile would install otherwise, so that it needs no network.
debootstrap --variant=minbase --include=ca-certificates,curl,net-tools,procps "$suite" "$directory" \
    "${HIVE_DEBIAN_MIRROR:-http://deb.debian.org/debian}"
# It becomes the root, which everybody has to pass.
chmod 0755 "$directory"
rm -rf "$directory"/var/cache/apt/archives/*.deb "$directory"/var/lib/apt/lists/*
tar --directory "$directory" --numeric-owner --create . | docker import - "$image"
