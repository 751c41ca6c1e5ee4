#!/bin/sh
# Usage: examples/push.sh TAG
#
# Pushes acme/shop:TAG to the folder images/, as a CI job pushes to a registry.
# To take every such push back: git checkout examples/images && git clean -fdq examples/images
set -eu
tag=${1:?usage: examples/push.sh TAG}
cd "$(dirname "$0")/images"

if grep -q "acme/shop:$tag\"" index.json; then
    echo "acme/shop:$tag is there already" >&2
    exit 1
fi

created=$(date -u +%Y-%m-%dT%H:%M:%SZ)
type=application/vnd.oci.image.manifest.v1+json

# The manifest of dev-2 with a note of its own, so that it is another image.
digest=$(sed -n 's|.*"sha256:\([0-9a-f]*\)".*acme/shop:dev-2".*|\1|p' index.json)
sed "s|}\$|,\"annotations\":{\"org.opencontainers.image.version\":\"$tag\"}}|" "blobs/sha256/$digest" > manifest
digest=$(sha256sum manifest | cut -d ' ' -f 1)
size=$(wc -c < manifest | tr -d ' ')
mv manifest "blobs/sha256/$digest"

entry="{\"mediaType\": \"$type\", \"digest\": \"sha256:$digest\", \"size\": $size, \"annotations\": {\"org.opencontainers.image.ref.name\": \"acme/shop:$tag\", \"org.opencontainers.image.created\": \"$created\"}},"
awk -v entry="    $entry" '{ print } /"manifests": \[/ { print entry }' index.json > index
mv index index.json
echo "pushed acme/shop:$tag"
