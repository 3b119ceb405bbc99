#!/bin/sh
# Builds the image `pserve`, with the version as its tag. ENGINE=podman builds it with that; arguments go to `build`.
set -eu
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)
exec "${ENGINE:-docker}" build --file deploy/image/Dockerfile --tag "pserve:$version" "$@" .
