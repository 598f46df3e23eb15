#!/bin/bash
# index.sh - sealed indexes that travel with an image, and the default cache: an image of
# skopeo's mounts without being read through, and no index is believed that does not prove itself.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

azure_start
ocicrypt_cmd "$CLOAKFS" keyprovider --exec
image_small "$WORK/plain" gzip zstd raw
encrypt "$WORK/plain" "$WORK/enc" --dest-oci-accept-uncompressed-layers --encryption-key "provider:attestation-agent:aasp:$KID"
IMAGE=oci:$WORK/enc:latest
MANIFEST=$(jq -r '.manifests[0].digest' "$WORK/enc/index.json")

# bytes_read COMMAND...: of blobs, at random, which is how layers are read.
bytes_read() {
	$PRIVATE strace -f -y -e trace=pread64 -e signal=none -o "$WORK/trace" "$@" >"$WORK/out" 2>"$WORK/err" || cat "$WORK/err" >&2
	awk '/pread64\(.*blobs\/sha256\// && / = [0-9]+$/ { n += $NF } END { print n + 0 }' "$WORK/trace"
}
PRIVATE=
total=$(jq '[.layers[].size] | add' "$(layout_manifest "$WORK/enc")")
cp -r "$WORK/enc" "$WORK/bare"

n=$(bytes_read "$CLOAKFS" ls "$IMAGE" /app)
ok "without an index all of the image is read" test "$n" -ge "$total"
ok "cloakfs index" "$CLOAKFS" index "$IMAGE"
matches 'artifact +sha256:' "$(cat "$LOG")" "says what it made"
n=$(bytes_read "$CLOAKFS" ls "$IMAGE" /app)
is 0 "$n" "with it nothing is"
matches 'weights.bin' "$(cat "$WORK/out")" "and the files are there"
ok "a mount by it" mount_image "$IMAGE" "$WORK/mnt"
treedump "$WORK/mnt" >"$WORK/indexed.tree"
ok "umount" "$CLOAKFS" umount "$WORK/mnt"
ok "a mount without" mount_image "oci:$WORK/bare:latest" "$WORK/mnt"
treedump "$WORK/mnt" >"$WORK/bare.tree"
ok "umount" "$CLOAKFS" umount "$WORK/mnt"
same "$WORK/bare.tree" "$WORK/indexed.tree" "shows the same tree"

# ---- the artifact, as the OCI specifications have it ----
TAG=sha256-${MANIFEST#sha256:}
entry=$(jq -c --arg t "$TAG" '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == $t)' "$WORK/enc/index.json")
is application/vnd.oci.image.index.v1+json "$(jq -r .mediaType <<<"$entry")" "the referrers tag names an index"
list=$WORK/enc/blobs/sha256/$(jq -r '.digest[7:]' <<<"$entry")
is application/vnd.cloakfs.index.v1 "$(jq -r '.manifests[0].artifactType' "$list")" "that lists the artifact by its type"
artifact=$WORK/enc/blobs/sha256/$(jq -r '.manifests[0].digest[7:]' "$list")
is "$MANIFEST application/vnd.cloakfs.index.v1 4" \
	"$(jq -r '"\(.subject.digest) \(.artifactType) \(.layers | length)"' "$artifact")" "which refers to the image"
is "$(jq -c '[.layers[].digest]' "$(layout_manifest "$WORK/enc")")" \
	"$(jq -c '[.layers[] | select(.mediaType == "application/vnd.cloakfs.index.v1") | .annotations["io.cloakfs.layer"]]' "$artifact")" \
	"with an index for each of its layers"
is 1 "$(jq '[.layers[] | select(.mediaType == "application/vnd.cloakfs.windows.v1")] | length' "$artifact")" "and the windows of the one that needs any"
ok "skopeo still finds the image by its name" skopeo_copy "$IMAGE" "oci:$WORK/copied:latest"
ok "and we without a name" "$CLOAKFS" ls "oci:$WORK/enc" /app

# ---- in another layout ----
ok "--out DIR" "$CLOAKFS" index --out "$WORK/indexes" "oci:$WORK/bare:latest"
n=$(bytes_read "$CLOAKFS" ls "oci:$WORK/bare:latest" /app)
ok "it is not found by itself" test "$n" -ge "$total"
is 0 "$(bytes_read "$CLOAKFS" ls --index "$WORK/indexes" "oci:$WORK/bare:latest" /app)" "--index DIR finds it"
fails_with 'index' "--index with a directory that has none is said" "$CLOAKFS" ls --index "$WORK/plain" "oci:$WORK/bare:latest" /app

mount --bind "$WORK/bare" "$WORK/bare" && mount -o remount,bind,ro "$WORK/bare"
fails_with 'Read-only.*--out DIR' "a layout that cannot be written is said" "$CLOAKFS" index "oci:$WORK/bare:latest"
umount "$WORK/bare"

# ---- not believed ----
damaged() { # HOW: in a copy of the layout, whose index of layer 0 is damaged
	rm -rf "$WORK/bad"
	cp -r "$WORK/enc" "$WORK/bad"
	blob=$WORK/bad/blobs/sha256/$(jq -r '.layers[0].digest[7:]' "$artifact")
	case $1 in
	flipped) printf x | dd of="$blob" bs=1 seek=200 conv=notrunc status=none ;;
	cut) truncate -s 100 "$blob" ;;
	gone) rm "$blob" ;;
	exchanged) cp "$WORK/bad/blobs/sha256/$(jq -r '.layers[1].digest[7:]' "$artifact")" "$blob" ;;
	esac
}
for how in flipped cut gone exchanged; do
	damaged $how
	n=$(bytes_read "$CLOAKFS" ls "oci:$WORK/bad:latest" /app)
	ok "a $how index costs a pass of that layer" test "$n" -ge "$(jq '.layers[0].size' "$(layout_manifest "$WORK/bad")")"
	matches 'weights.bin' "$(cat "$WORK/out")" "and nothing else"
	matches 'layer 0 .*index' "$(cat "$WORK/err")" "and is said"
done
echo '{' >"$artifact"
ok "an artifact that is no JSON is passed over" "$CLOAKFS" ls "$IMAGE" /app
matches 'index artifact is not used' "$(cat "$LOG")" "and is said"
ok "and made anew" "$CLOAKFS" index "$IMAGE"
is 0 "$(bytes_read "$CLOAKFS" ls "$IMAGE" /app)" "serves again"
is 1 "$(jq '.manifests | length' "$WORK/enc/blobs/sha256/$(jq -r --arg t "$TAG" '.manifests[] |
	select(.annotations["org.opencontainers.image.ref.name"] == $t) | .digest[7:]' "$WORK/enc/index.json")")" \
	"in the old one's place"

# ---- what there is nothing to do for ----
fails_with 'no layer .* encrypted' "a plain image" "$CLOAKFS" index "oci:$WORK/plain:latest"
"$CLOAKFS" encrypt --key "provider:attestation-agent:aasp:$KID" "oci:$WORK/plain:latest" "oci:$WORK/sealed:latest" >"$LOG" 2>&1
fails_with 'holds its own index' "a sealed image" "$CLOAKFS" index "oci:$WORK/sealed:latest"
"$CLOAKFS" encrypt --compress keep --key "provider:attestation-agent:aasp:$KID" "oci:$WORK/plain:latest" "oci:$WORK/kept:latest" >"$LOG" 2>&1
ok "sealed bytes as they were have none" "$CLOAKFS" index "oci:$WORK/kept:latest"
n=$(bytes_read "$CLOAKFS" ls "oci:$WORK/kept:latest" /app)
ok "and mount by the artifact" test "$n" -lt 200000

# ---- the default cache ----
config_edit 'del(.cache_dir)'
in_private() { # a mount namespace with a /var/cache of its own
	unshare -m sh -c 'mount --bind "$1" /var/cache && shift && exec "$@"' sh "$WORK/var-cache" "$@"
}
mkdir -p "$WORK/var-cache"
ok "by default root's indexes are kept in /var/cache/cloakfs" in_private "$CLOAKFS" ls "oci:$WORK/bare:latest" /app
is 3 "$(find "$WORK/var-cache/cloakfs/index" -type f | wc -l)" "one for each layer"
PRIVATE=in_private
is 0 "$(bytes_read "$CLOAKFS" ls "oci:$WORK/bare:latest" /app)" "and serve the next time"
is 700 "$(stat -c %a "$WORK/var-cache/cloakfs")" "nobody else reads them"
umask 022
mount --bind "$WORK/var-cache" "$WORK/var-cache" && mount -o remount,bind,ro "$WORK/var-cache"
rm -rf "$WORK/var-cache/cloakfs" 2>"$LOG"
ok "a cache that cannot be written" in_private "$CLOAKFS" cat "oci:$WORK/bare:latest" /app/config
umount "$WORK/var-cache"
n=$(bytes_read "$CLOAKFS" ls --cache-dir none "oci:$WORK/bare:latest" /app)
ok "--cache-dir none uses none" test "$n" -ge "$total"

finish
