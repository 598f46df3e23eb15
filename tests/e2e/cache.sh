#!/bin/bash
# cache.sh - sealed indexes: a second mount reads no layer through; a damaged, exchanged or
# missing index costs a pass and nothing else; what is full stays full. And the cache's bound, and
# cloakfs cache ls, prune and verify.
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
is "" "$(find "$WORK" -path '*/index/*' -o -name '*.index' -o -path "$CACHE")" "nothing is kept"
config_edit --arg c "$CACHE" '. + {cache_dir: $c}'

hex_of_layer() {
	basename "$(layout_blob "$WORK/enc" "$1")"
}
index_of() {
	echo "$CACHE/index/$(hex_of_layer "$1")"
}
read_config() {
	"$CLOAKFS" cat "$@" "$IMAGE" /app/config
}

ok "a first use verifies the layers" read_config
is "3" "$(find "$CACHE/index" -type f | grep -cE '/[0-9a-f]{64}$')" "and keeps an index of each"
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

# ---- as versions before had them ----
mv "$(index_of 0)" "$CACHE/sha256-$(hex_of_layer 0).index"
printf '\377\376\375\374' | dd of="$blob" bs=1 seek=$((size / 2)) conv=notrunc status=none
ok "indexes of an older version are taken over" read_config
is "" "$(grep index "$LOG")" "and serve"
ok "where they have their place now" test -s "$(index_of 0)" -a ! -e "$CACHE/sha256-$(hex_of_layer 0).index"
cp "$WORK/good" "$blob"

# ---- the bound ----
# Small indexes are old, and there are many of them: the newest stay.
mkdir -m 700 "$WORK/small" "$WORK/small/index"
for i in $(seq 300); do
	f=$WORK/small/index/$(printf '%064x' "$i")
	head -c 5000 /dev/urandom >"$f"
	touch -d "$i minutes ago" "$f"
done
ok "a mount with a cache that is too full" read_config --cache-dir "$WORK/small" --cache-size 1M
ok "leaves it within its bound" test "$(du -sB1 --apparent-size "$WORK/small" | cut -f 1)" -lt 1048576
is "yes no" "$(test -e "$WORK/small/index/$(printf '%064x' 1)" && echo yes) $(test -e "$WORK/small/index/$(printf '%064x' 300)" || echo no)" \
	"by what was used longest ago"
ok "the image's own are among what stays" test -e "$WORK/small/index/$(hex_of_layer 0)"
for bad in 0 1023K x 1.5G -1 8388608T; do
	"$CLOAKFS" cat --cache-size=$bad "$IMAGE" /app/config >"$WORK/out" 2>"$LOG"
	is 2 $? "--cache-size $bad is not understood"
	matches 'cache-size' "$(head -n 1 "$LOG")" "and it is said why"
done

# ---- cloakfs cache ----
flip() { # FILE OFFSET
	printf "\\x$(printf %02x $((0x$(xxd -s "$2" -l 1 -p "$1") ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
C=$WORK/blobs-cache
mkdir -m 700 "$C"
head -c 200000 /dev/urandom >"$WORK/whole"
head -c 200000 /dev/urandom >"$WORK/part"
head -c 200000 /dev/urandom >"$WORK/old"
whole=$("$E2E/cacheblob" "$C" "$WORK/whole" 10)
part=$("$E2E/cacheblob" "$C" "$WORK/part" 100 0 1 4 5 12)
old=$("$E2E/cacheblob" "$C" "$WORK/old" 4000)
mkdir -m 700 "$C/index" "$C/doc"
cp "$(index_of 0)" "$C/index/$(hex_of_layer 0)"
echo document >"$WORK/document"
doc=$(sha256sum "$WORK/document" | cut -c1-64)
cp "$WORK/document" "$C/doc/$doc"
fails_with '^cloakfs: error: --cache-dir is empty' "an empty --cache-dir is refused" "$CLOAKFS" ls --cache-dir "" "$IMAGE"
ok "cache ls" "$CLOAKFS" cache ls --cache-dir "$C"
matches "sha256:$whole +195.3 KiB, 195.3 KiB there \\(100.0 %\\), used 20" "$(cat "$LOG")" "shows a blob that is there whole"
matches "sha256:$part +195.3 KiB, 67.3 KiB there \\(34.5 %\\), used 20" "$(cat "$LOG")" "and one of which a part is"
matches "^index +1, .* on the disk" "$(cat "$LOG")" "and indexes"
matches "^total +[0-9.]+ KiB of [0-9.]+ [GM]iB in $C" "$(cat "$LOG")" "and all together"
"$CLOAKFS" cache ls --json --cache-dir "$C" >"$WORK/json"
is "$C 3 [\"doc\",\"index\"]" "$(jq -r '"\(.directory) \(.blobs | length) \([.others[].kind])"' "$WORK/json")" "cache ls --json"
is "200000 68928 0.34464 false" "$(jq -r --arg d "sha256:$part" '.blobs[] | select(.digest == $d) | "\(.size) \(.bytes_there) \(.share) \(.damaged)"' "$WORK/json")" \
	"tells of a blob"
age=$(($(date +%s) - $(jq --arg d "sha256:$old" '.blobs[] | select(.digest == $d) | .last_used' "$WORK/json")))
ok "and when it was used last" test "$age" -ge 3999 -a "$age" -le 4060
is "$(find "$C" -type f ! -name lock -printf '%b\n' | awk '{ n += $1 } END { print n * 512 }')" "$(jq .bytes_on_disk "$WORK/json")" "and what all takes"

ok "cache verify" "$CLOAKFS" cache verify --cache-dir "$C"
matches '^blobs +3, 2 of them whole and checked by their digests, 0 wrong$' "$(cat "$LOG")" "checks blobs"
matches '^blocks +31, 0 wrong$' "$(cat "$LOG")" "and their blocks"
flip "$C/blobs/$part" 70000
flip "$C/doc/$doc" 0
"$CLOAKFS" cache verify --cache-dir "$C" >"$WORK/out" 2>"$LOG"
is 1 $? "exit status 1 where something is wrong"
matches '^blocks +31, 1 wrong$' "$(cat "$WORK/out")" "says how many blocks"
matches '^documents +1, 1 wrong$' "$(cat "$WORK/out")" "and documents"
matches "error: what was wrong in the cache $C was dropped" "$(cat "$LOG")" "and that they were dropped"
ok "then all is well" "$CLOAKFS" cache verify --cache-dir "$C"
matches '^blocks +30, 0 wrong$' "$(cat "$LOG")" "without them"

ok "prune removes nothing where there is room" "$CLOAKFS" cache prune --cache-dir "$C"
matches '^freed 0 bytes, [0-9]{3}\..* KiB are left' "$(cat "$LOG")" "and says so"
head -c 1000000 /dev/urandom >"$WORK/large"
"$E2E/cacheblob" "$C" "$WORK/large" 5 >"$LOG"
disk=$("$CLOAKFS" cache ls --json --cache-dir "$C" | jq .bytes_on_disk)
ok "prune --cache-size" "$CLOAKFS" cache prune --cache-dir "$C" --cache-size $((disk - 120000))
matches '^freed 1[0-9.]+ KiB, 1\.[0-9] MiB are left' "$(cat "$LOG")" "says what it did"
ok "cache ls" "$CLOAKFS" cache ls --cache-dir "$C"
is "2" "$(grep -cE "$whole +195.3 KiB, 195.3 KiB there|$part +195.3 KiB, 51.3 KiB there" "$LOG")" "what is younger stays"
is "" "$(grep -E "$old +195.3 KiB, 195.3 KiB there" "$LOG")" "what is oldest went"
start "$WORK/held" flock --no-fork -s "$C/blobs/$whole" sleep 60
held=$!
wait_until 5 sh -c "! flock -n -x '$C/blobs/$whole' true"
ok "prune --all" "$CLOAKFS" cache prune --all --cache-dir "$C"
is "$C/blobs/$whole" "$(find "$C" -type f ! -name lock)" "leaves what is in use, and nothing else"
kill "$held"
wait_until 5 flock -n -x "$C/blobs/$whole" true
ok "prune --all" "$CLOAKFS" cache prune --all --cache-dir "$C"
is "" "$(find "$C" -type f ! -name lock)" "then nothing is left"

fails_with 'there is no cache in /nowhere: No such' "a directory that is not there" "$CLOAKFS" cache ls --cache-dir /nowhere
fails_with 'cache-dir or cache_dir is none' "none" "$CLOAKFS" cache ls --cache-dir none
for words in "" "purge" "ls more" "verify --json" "ls --all" "prune --json"; do
	# shellcheck disable=SC2086
	"$CLOAKFS" cache $words >"$WORK/out" 2>"$LOG"
	is 2 $? "cache $words: the command line is not understood"
done

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
