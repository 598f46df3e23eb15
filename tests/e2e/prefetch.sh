#!/bin/bash
# prefetch.sh - what a mount of an image in a registry fetches in the background: all of it, what a
# trace says, or nothing; beside readers, and without a registry for a while.
# And that what status and metrics say of it is what the registry has seen.
[ -n "${OWN_NS:-}" ] || OWN_NS=1 exec unshare --mount --propagation private bash "$0" "$@"
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"
# shellcheck source=tests/e2e/lib/registry.sh
. "$LIB/registry.sh"

others_go
MNT=$WORK/mnt
C=$WORK/cache
KEY=$WORK/key.pem
FRAME=131072 # bytes that are encrypted together, and so fetched together
mkdir "$MNT"
export CLOAKFS_CONFIG=$WORK/cloakfs.json
config() { # MS
	jq -n --argjson t "$1" '{registry: {timeout_ms: $t}}' >"$CLOAKFS_CONFIG"
}
config 30000

# ---- the image: of noise, a large layer and one of many files, some of which were traced ----
mkdir -p "$WORK/0/large" "$WORK/1/f"
for i in $(seq 8); do head -c 1000000 /dev/urandom >"$WORK/0/large/$i"; done
for i in $(seq 100 160); do head -c 40000 /dev/urandom >"$WORK/1/f/$i"; done
TRACED=$(cd "$WORK/1" && echo f/12[0-3] f/14[5-7])
(cd "$WORK/0" && sha256sum -- large/*) >"$WORK/sums"
(cd "$WORK/1" && sha256sum -- f/*) >>"$WORK/sums"
openssl genrsa -out "$KEY" 2048 2>"$LOG"
openssl pkey -in "$KEY" -pubout -out "$WORK/pub.pem"
layout_new "$WORK/plain"
for i in 0 1; do
	(cd "$WORK/$i" && tar -cf "$WORK/$i.tar" --format=posix -- */*)
	layout_add "$WORK/plain" "$WORK/$i.tar" gzip
done
layout_finish "$WORK/plain"
mount_image "oci:$WORK/plain:latest" "$MNT" --cache-dir none --record "$WORK/trace" || bail "recording" "$(cat "$LOG")"
(cd "$MNT" && for f in $TRACED; do cat "$f"; done) >"$WORK/out"
"$CLOAKFS" umount "$MNT" >"$LOG" 2>&1 || bail "recording ends" "$(cat "$LOG")"
"$CLOAKFS" encrypt --prefetch "$WORK/trace" --key "$WORK/pub.pem" "oci:$WORK/plain:latest" "oci:$WORK/sealed:latest" >"$LOG" 2>&1 &&
	"$CLOAKFS" encrypt --cipher ctr --key "$WORK/pub.pem" "oci:$WORK/plain:latest" "oci:$WORK/ctr:latest" >"$LOG" 2>&1 &&
	"$CLOAKFS" index --prefetch "$WORK/trace" --key "$KEY" "oci:$WORK/ctr:latest" >"$LOG" 2>&1 || bail "encrypting" "$(cat "$LOG")"
serve() { # [--port N]
	fr_start r --layout "i/sealed=$WORK/sealed" --layout "i/ctr=$WORK/ctr" "$@"
}
serve
PORT=${FR_PORT[r]}
declare -A LAYER SIZE WINDOWS WINDOWS_OF WHOLE # WHOLE: layers and windows
for i in sealed ctr; do
	for l in 0 1; do
		LAYER[$i$l]=$(basename "$(layout_blob "$WORK/$i" $l)")
		SIZE[$i$l]=$(stat -c %s "$(layout_blob "$WORK/$i" $l)")
	done
	LAYER[$i]="${LAYER[${i}0]}|${LAYER[${i}1]}"
	SIZE[$i]=$((SIZE[${i}0] + SIZE[${i}1]))
	# And blobs of windows, which its indexes lead to.
	artifact=$(grep -las 'cloakfs.windows' "$WORK/$i/blobs/sha256/"*)
	WINDOWS[$i]=$(jq '[.layers[] | select(.mediaType | test("windows")) | .size] | add' $artifact </dev/null)
	WINDOWS_OF[$i]=$(jq -r '[.layers[] | select(.mediaType | test("windows")) | .digest | ltrimstr("sha256:")] | join("|")' $artifact </dev/null)
	WHOLE[$i]=$((SIZE[$i] + WINDOWS[$i]))
done
[ -z "${WINDOWS[sealed]}" ] && [ "${WINDOWS[ctr]}" -gt 100000 ] || bail "windows" "${WINDOWS[*]}"

# ---- helpers ----
up() { # IMAGE [options]: with an empty cache
	local image=$1
	shift
	rm -rf "$C"
	again "$image" "$@"
}
again() { # IMAGE [options]
	local image=$1
	shift
	: >"$WORK/told"
	mount_image "docker://$(fr_at r)/i/$image" "$MNT" --mode fuse --key "$KEY" --cache-dir "$C" --log "$WORK/told" "$@" ||
		bail "$image mounts" "$(cat "$LOG")"
}
down() {
	"$CLOAKFS" umount "$MNT" >"$LOG" 2>&1 || fail "umount" "$(cat "$LOG")"
}
right() { # [REGEX]: of the files
	(cd "$MNT" && grep -E "${1:-.}" "$WORK/sums" | sha256sum -c --quiet)
}
status_of() { # JQ, of the mount
	"$CLOAKFS" status --json "$MNT" | jq -c ".mounts[0]$1"
}
progress() {
	status_of '.network | [.prefetch_done, .prefetch_total]'
}
prefetched() {
	[ "$(status_of '.network | .prefetch_total > 0 and .prefetch_done == .prefetch_total')" = true ]
}
# asked LAYERS: the ranges of these blobs that were asked for since the mark, "FIRST LAST BLOB", in order.
asked() {
	fr_log r | sed -nE "s#.* GET /v2/[^ ]*/blobs/sha256:($1) bytes=([0-9]+)-([0-9]+) 206 .*#\\2 \\3 \\1#p"
}
# moved LAYERS: bytes of these blobs since the mark.
moved() {
	fr_log r | awk -v l="/blobs/sha256:($1)" '$4 ~ l { sum += $7 } END { print sum + 0 }'
}
# once LAYERS: what was asked for more than once
once() {
	asked "$1" | sort -k 3,3 -k 1,1n | awk '$3 == blob && $1 <= last { print "again: " $0 } { blob = $3; last = $2 }'
}
waits() { # RULE: somebody waits for what never comes
	[ "$(fr r hits "$1")" -gt 0 ]
}

# ---- all of it ----
for image in sealed ctr; do
	fr_mark r
	up $image --prefetch all --metrics "unix:$WORK/metrics"
	wait_until 30 prefetched && pass "$image, all: it comes to an end" || fail "$image, all: it comes to an end" "$(progress)"
	is "[${WHOLE[$image]},${WHOLE[$image]}]" "$(progress)" "$image, all: of all bytes"
	is "" "$(once "${LAYER[$image]}")" "$image, all: each was asked for once"
	is "${SIZE[$image]}" "$(moved "${LAYER[$image]}")" "$image, all: and no other"
	size=$(awk -v n="${WHOLE[$image]}" 'BEGIN { printf "%.1f MiB", n / 1048576 }')
	matches "^  prefetch    $size of $size\$" "$("$CLOAKFS" status "$MNT")" "$image, all: people see it"
	curl -sS --unix-socket "$WORK/metrics" http://x/metrics >"$WORK/text" 2>&1
	for i in 0 1; do
		labels="{layer=\"$i\",digest=\"sha256:${LAYER[$image$i]}\"}"
		is "$(moved "${LAYER[$image$i]}") ${SIZE[$image$i]} 1.000000" \
			"$(for m in fetched_bytes_total cache_kept_bytes cache_kept_ratio; do sed -n "s/^cloakfs_layer_$m$labels //p" "$WORK/text"; done | xargs)" \
			"$image, all: metrics of layer $i: fetched as the registry says, and kept"
	done
	is "${WHOLE[$image]} ${SIZE[$image]} ${WHOLE[$image]} ${WHOLE[$image]}" \
		"$(for m in fetched_bytes_total cache_kept_bytes prefetch_bytes prefetch_done_bytes; do sed -n "s/^cloakfs_$m //p" "$WORK/text"; done | xargs)" \
		"$image, all: metrics of the mount"
	fr_stop r
	ok "$image, all: the registry goes, everything is read" right
	down
	serve --port "$PORT"
	fr_mark r
	again $image --prefetch all
	wait_until 30 prefetched && pass "$image, all again: done" || fail "$image, all again: done" "$(progress)"
	is 0 "$(moved "${LAYER[$image]}")" "$image, all again: what is kept is not fetched"
	is "" "$(grep -v 'note: ' "$WORK/told")" "$image, all again: nothing is said"
	down
done

# ---- none ----
for image in sealed ctr; do
	fr_mark r
	up $image --prefetch none --metrics "unix:$WORK/metrics"
	before=$(moved "${LAYER[$image]}")
	is "[0,0]" "$(progress)" "$image, none: nothing is to be fetched"
	! "$CLOAKFS" status "$MNT" | grep -q '^  prefetch' && pass "$image, none: nor seen" || fail "$image, none: nor seen"
	is 0 "$(fr_log r | grep -c "${WINDOWS_OF[$image]:-nothing}")" "$image, none: of windows no byte"
	ok "$image, none: files are read" right 'f/1[56]'
	windows=$(moved "${WINDOWS_OF[$image]:-nothing}")
	[ $image = sealed ] || { [ "$windows" -gt 0 ] && [ "$windows" -lt $((WINDOWS[$image] * 3 / 4)) ]; } &&
		pass "$image, none: then of few ($windows)" || fail "$image, none: then of few" "$windows of ${WINDOWS[$image]}"
	curl -sS --unix-socket "$WORK/metrics" http://x/metrics >"$WORK/text" 2>&1
	down
	[ "$before" -lt 300000 ] && [ "$(moved "${LAYER[$image]}")" -lt 1500000 ] && pass "$image, none: and nothing else is fetched" ||
		fail "$image, none: and nothing else is fetched" "$before, $(moved "${LAYER[$image]}")"
	is "$(fr_log r | awk '$5 ~ /^bytes=/ { sum += $7 } END { print sum }')" "$(sed -n "s/^cloakfs_fetched_bytes_total //p" "$WORK/text")" "$image, none: metrics say what was"
	is "$("$CLOAKFS" cache ls --json --cache-dir "$C" | jq --arg l "${LAYER[${image}1]}" '.blobs[] | select(.digest | test($l)) | .bytes_there')" \
		"$(sed -n "s/^cloakfs_layer_cache_kept_bytes{layer=\"1\".* //p" "$WORK/text")" "$image, none: and how much of a layer is kept"
done

# ---- what a trace says ----
# In the order of the blob there are two runs of traced files. What skopeo has encrypted is gzip's,
# which is read from its start on, and further ahead then.
for image in sealed ctr; do
	fr_mark r
	up $image --prefetch none
	plain=$(asked "${LAYER[$image]}" | wc -l)
	down
	fr_mark r
	up $image
	wait_until 30 prefetched && pass "$image, trace: it comes to an end" || fail "$image, trace: it comes to an end" "$(progress)"
	asked "${LAYER[$image]}" | tail -n "+$((plain + 1))" >"$WORK/asked"
	bytes=$(awk '{ n += $2 - $1 + 1 } END { print n }' "$WORK/asked")
	is '[[0,0],[2,true]]' "$(status_of '.layers | map([.prefetch_ranges, (.prefetch_bytes | if . < 280000 or . > 300000 then . else true end)])' | sed 's/^\[\[0,0*\]/[[0,0]/')" \
		"$image, trace: the index names two ranges of the tar"
	if [ $image = sealed ]; then
		n=$(wc -l <"$WORK/asked")
		[ "$n" -ge 1 ] && [ "$n" -le 2 ] && pass "$image, trace: which are few requests ($n)" || fail "$image, trace: which are few requests" "$n: $(cat "$WORK/asked")"
		[ "$bytes" -gt 200000 ] && [ "$bytes" -lt $((300000 + FRAME)) ] && pass "$image, trace: and few bytes ($bytes)" || fail "$image, trace: and few bytes" "$bytes"
	fi
	is "" "$(grep "${LAYER[${image}0]}" "$WORK/asked")" "$image, trace: nothing of a layer without any"
	fr_mark r
	ok "$image, trace: the traced files" right "($(echo "$TRACED" | tr ' ' '|'))\$"
	is "" "$(asked "${LAYER[$image]}" | sort -n >"$WORK/more"; cat "$WORK/more" "$WORK/asked" | sort -k 3,3 -k 1,1n |
		awk '$3 == blob && $1 <= last { print "again: " $0 } { blob = $3; last = $2 }')" "$image, trace: nothing of them is fetched again"
	[ $image != sealed ] || is "" "$(fr_log r)" "$image, trace: they need no further request"
	is "" "$(asked "${WINDOWS_OF[$image]:-nothing}")" "$image, trace: nor one for windows"
	ok "$image, trace: others do" right 'large/7'
	[ "$(asked "${LAYER[$image]}" | wc -l)" -gt 0 ] && pass "$image, trace: and make them" || fail "$image, trace: and make them"
	down
	# All is that and the rest. Answers take their time, so that whoever is to ask first has asked
	# when the first is done.
	fr r set delay=500
	fr_mark r
	up $image --prefetch all
	wait_until 60 prefetched || fail "$image, trace and all: it comes to an end" "$(progress)"
	fr r set delay=0
	is "${SIZE[$image]}" "$(moved "${LAYER[$image]}")" "$image, trace and all: each byte"
	is "" "$(once "${LAYER[$image]}")" "$image, trace and all: once"
	asked "${LAYER[$image]}" | tail -n "+$((plain + 1))" | head -n 2 >"$WORK/asked"
	[ "$(grep -c "${LAYER[${image}1]}" "$WORK/asked")" -ge 1 ] && pass "$image, trace and all: the traced ones first" ||
		fail "$image, trace and all: the traced ones first" "$(cat "$WORK/asked")"
	down
done

# ---- beside readers ----
# While somebody waits, nothing is asked for in the background, whatever others read meanwhile. The
# traced files are there already, and so the first in the background is the start of the large layer,
# which is not answered until there is a reader who waits for the other layer, and goes on waiting.
# Others read the end of the large one. Who waits asks again now and then, at the same place.
config 120000
up sealed
wait_until 30 prefetched || fail "beside readers: the traced files are there" "$(progress)"
down
fr_mark r
again sealed --prefetch none
opening=$(asked "${LAYER[sealed0]}" | wc -l)
down
behind() { # what was asked for in the background: where it begins
	tail -n "+$((before + 1))" "$WORK/r.requests" |
		sed -nE "s#.* GET /v2/[^ ]*/blobs/sha256:${LAYER[sealed0]} bytes=([0-9]+)-[0-9]+ 206 .*#\\1#p" | awk '$1 < 5000000' | sort -nu
}
background=$(fr r fault stall=0 "path=/blobs/sha256:${LAYER[sealed0]}" "skip=$opening")
again sealed --prefetch all
wait_until 30 waits "$background" || fail "beside readers: prefetching has begun"
before=$(wc -l <"$WORK/r.requests")
reader=$(fr r fault stall=0 "path=/blobs/sha256:${LAYER[sealed1]}")
start "$WORK/reader" cat "$MNT/f/160"
pid=$!
wait_until 30 waits "$reader" || fail "beside readers: one waits"
fr r clear "$background"
answered() {
	[ -n "$(behind)" ]
}
wait_until 60 answered || fail "beside readers: what was asked for before is answered"
fr r set delay=50
ok "beside readers: others read" right 'large/[78]'
fr r set delay=0
is 1 "$(behind | wc -l)" "beside readers: prefetching waits"
is false "$(prefetched && echo true || echo false)" "beside readers: there is still more to be fetched"
ok "beside readers: one still waits" kill -0 $pid
fr r clear "$reader"
wait "$pid" && same "$WORK/1/f/160" "$WORK/reader" "beside readers: until the answer has come"
wait_until 30 prefetched && pass "beside readers: and goes on after them" || fail "beside readers: and goes on after them" "$(progress)"
down

# ---- a registry that is gone for a while ----
config 1000
for image in sealed ctr; do
	fr r set rate=4000000
	up $image --prefetch all
	fr r listen off
	fr r drop
	wait_until 20 grep -q 'prefetching waits' "$WORK/told" && pass "$image: the registry goes: it waits" ||
		fail "$image: the registry goes: it waits" "$(cat "$WORK/told") $(progress)"
	! prefetched && pass "$image: the registry goes: it is not done" || fail "$image: the registry goes: it is not done"
	fr r set rate=0
	fr r listen on
	wait_until 30 prefetched && pass "$image: the registry is back: it is" || fail "$image: the registry is back: it is" "$(progress)"
	is "${SIZE[$image]}" "$(status_of .network.bytes_kept)" "$image: the registry is back: all of it is kept"
	matches 'prefetching goes on' "$(cat "$WORK/told")" "$image: the registry is back: and says so"
	is 2 "$(grep -c prefetching "$WORK/told")" "$image: in two lines"
	ok "$image: the registry is back: right bytes" right
	down
done
config 30000

finish
