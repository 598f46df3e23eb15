#!/bin/bash
# cache.sh - sealed indexes: a second mount reads no layer through; a damaged, exchanged or
# missing index costs a pass and nothing else; what is full stays full.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"
# shellcheck source=tests/e2e/lib/layout.sh
. "$(dirname "$0")/lib/layout.sh"
# shellcheck source=tests/e2e/lib/images.sh
. "$(dirname "$0")/lib/images.sh"
# shellcheck source=tests/e2e/lib/azure.sh
. "$(dirname "$0")/lib/azure.sh"

azure_start
ocicrypt_cmd "$CLOAKFS" keyprovider --exec
image_small "$WORK/plain" gzip zstd raw
encrypt "$WORK/plain" "$WORK/enc"
IMAGE=oci:$WORK/enc:latest
CACHE=$WORK/cache
ok "without a directory" "$CLOAKFS" cat "$IMAGE" /app/config
is "" "$(find "$WORK" -name '*.index')" "nothing is kept"
config_edit --arg c "$CACHE" '. + {cache_dir: $c}'

hex_of_layer() {
	basename "$(layout_blob "$WORK/enc" "$1")"
}
index_of() {
	echo "$CACHE/sha256-$(hex_of_layer "$1").index"
}
read_config() {
	"$CLOAKFS" cat "$@" "$IMAGE" /app/config
}

ok "a first use verifies the layers" read_config
is "3" "$(find "$CACHE" -name 'sha256-*.index' | wc -l)" "and keeps an index of each"
is "700 600" "$(stat -c %a "$CACHE") $(stat -c %a "$(index_of 0)")" "for nobody else to read"
if grep -rqaE 'weights\.bin|coreutils|greeting' "$CACHE"; then
	fail "an index shows no name of the image" "$(grep -rlaE 'weights\.bin|coreutils' "$CACHE")"
else
	pass "an index shows no name of the image"
fi

# A byte in the middle of layer 2 that nobody asks for: only who reads all can see it.
blob=$(layout_blob "$WORK/enc" 2)
cp "$blob" "$WORK/good"
size=$(stat -c %s "$blob")
printf '\377\376\375\374' | dd of="$blob" bs=1 seek=$((size / 2)) conv=notrunc status=none
ok "with an index nothing is read through" read_config
fails_with 'layer 2 .*digest check' "without one the change is seen" \
	"$CLOAKFS" cat --cache-dir none "$IMAGE" /app/config
matches 'failed +layer 2 .*digest check' "$("$CLOAKFS" verify "$IMAGE" 2>&1)" \
	"verify is never content with an index"
ok "the damaged image mounts by its indexes" mount_image "$IMAGE" "$WORK/mnt"
ok "and serves what is sound" grep -q 'good day' "$WORK/mnt/app/config"
if cat "$WORK/mnt/app/weights.bin" >"$WORK/out" 2>"$LOG"; then
	fail "but not what was changed" "expected an I/O error"
else
	matches 'Input/output error' "$(cat "$LOG")" "but not what was changed"
fi
ok "umount" "$CLOAKFS" umount "$WORK/mnt"
cp "$WORK/good" "$blob"

# Damaged, cut, exchanged, foreign: made anew.
for how in flipped cut empty; do
	case $how in
	flipped) printf x | dd of="$(index_of 0)" bs=1 seek=200 conv=notrunc status=none ;;
	cut) truncate -s 1000 "$(index_of 0)" ;;
	empty) : >"$(index_of 0)" ;;
	esac
	ok "a $how index: the image is read all the same" read_config
	matches 'layer 0 .*index of it is not used' "$(cat "$LOG")" "and it is said why"
	ok "and the index is whole again" read_config
	is "" "$(grep 'index' "$LOG")" "so that nothing is said the next time"
done
cp "$(index_of 1)" "$WORK/one"
cp "$(index_of 0)" "$(index_of 1)"
ok "another layer's index is not believed" read_config
matches 'layer 1 .*commitment' "$(cat "$LOG")" "and it is said why"

# Where the cache cannot be.
fails_with 'cache directory /proc/nowhere' "a directory that cannot be made" \
	"$CLOAKFS" cat --cache-dir /proc/nowhere "$IMAGE" /app/config
mkdir -m 777 "$WORK/theirs" && chown 12345 "$WORK/theirs"
fails_with 'not a directory of ours' "a directory of someone else" \
	"$CLOAKFS" cat --cache-dir "$WORK/theirs" "$IMAGE" /app/config
counters_reset
ok "a mount by indexes" mount_image "$IMAGE" "$WORK/mnt"
is "1" "$(counter hsm_release)" "costs one release like any other"
ok "umount" "$CLOAKFS" umount "$WORK/mnt"

finish
