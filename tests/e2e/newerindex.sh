#!/bin/bash
# newerindex.sh - an index that somebody pushes beside an image takes the place of one that the cache
# has, for one small request at a mount; and a mount whose registry says nothing goes by the cache.
[ -n "${OWN_NS:-}" ] || OWN_NS=1 exec unshare --mount --propagation private bash "$0" "$@"
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"
# shellcheck source=tests/e2e/lib/registry.sh
. "$LIB/registry.sh"

others_go
MNT=$WORK/mnt
C=$WORK/cache
KEY=$WORK/key.pem
mkdir "$MNT" "$WORK/0"
export CLOAKFS_CONFIG=$WORK/cloakfs.json
jq -n --arg c "$WORK/others" '{cache_dir: $c, registry: {timeout_ms: 20000}}' >"$CLOAKFS_CONFIG"
for i in a b c d; do head -c 400000 /dev/urandom >"$WORK/0/$i"; done
openssl genrsa -out "$KEY" 2048 2>"$LOG"
openssl pkey -in "$KEY" -pubout -out "$WORK/pub.pem"
tar -C "$WORK/0" -cf "$WORK/0.tar" --format=posix a b c d
layout_new "$WORK/plain"
layout_add "$WORK/plain" "$WORK/0.tar" gzip
layout_finish "$WORK/plain"
"$CLOAKFS" encrypt --cipher ctr --key "$WORK/pub.pem" "oci:$WORK/plain:latest" "oci:$WORK/ctr:latest" >"$LOG" 2>&1 ||
	bail "encrypting" "$(cat "$LOG")"
PIN=$(jq -r '.manifests[0].digest' "$WORK/ctr/index.json")
for i in a b c; do printf 'cloakfs-trace 1\n0 0 400000 %s\n' $i >"$WORK/$i.trace"; done

up() { # [options]
	fr_mark r
	mount_image "docker://$AT/i@$PIN" "$MNT" --mode fuse --key "$KEY" --cache-dir "$C" "$@"
}
down() {
	"$CLOAKFS" umount "$MNT" >"$LOG" 2>&1 || fail "umount" "$(cat "$LOG")"
}
total() { # bytes to be fetched first
	"$CLOAKFS" status --json "$MNT" | jq '.mounts[0].network.prefetch_total'
}
push() { # TRACE: as the newest, whose time has seconds
	local s
	s=$(date +%s)
	wait_until 5 eval "[ \$(date +%s) -gt $s ]"
	"$CLOAKFS" index --prefetch "$WORK/$1.trace" --key "$KEY" --push "docker://$AT/i@$PIN"
}
asks() { # NUMBER TEXT: so many requests of the registry
	is "$1" "$(fr_log r | wc -l)" "$2"
}
kept() { # what the cache has of indexes
	sha256sum "$C"/index/* | cut -d ' ' -f 1
}

newer_wins() { # NAME REQUESTS [registry options]: where an unchanged list costs so many requests
	local name=$1 n=$2 old
	shift 2
	rm -rf "$C"
	fr_start r --layout "i=$WORK/ctr" "$@"
	AT=$(fr_at r)
	ok "$name: the first mount" up
	ok "$name: reads the layer" cmp "$WORK/0/d" "$MNT/d"
	is 0 "$(total)" "$name: nothing says what to fetch first"
	down
	ok "$name: once more" up
	asks "$n" "$name: it is asked for an index that is newer"
	is 0 "$(fr_bytes r)" "$name: nothing is moved"
	down
	old=$(kept)
	ok "$name: an index with a trace" push a
	ok "$name: is used by the next mount" up
	ok "$name: which fetches first what it says" test "$(total)" -gt 0
	ok "$name: and reads as before" cmp "$WORK/0/d" "$MNT/d"
	down
	ok "$name: the cache has it in the old one's place" test "$old" != "$(kept)"
	old=$(kept)
	ok "$name: the mount after that" up
	asks "$n" "$name: does not fetch it again"
	ok "$name: and uses it" test "$(total)" -gt 0
	down
	is "$old" "$(kept)" "$name: the cache is what it was"
	ok "$name: one more index" push b
	ok "$name: is used, too" up
	down
	ok "$name: and kept" test "$old" != "$(kept)"
	ok "$name: the cache is sound" "$CLOAKFS" cache verify --cache-dir "$C"
}
newer_wins tag 2 --no-referrers
fr_stop r
newer_wins api 1

# ---- one that is no good is tried once ----
old=$(kept)
ok "an index" push c
fr r fault path=referrers times=1 status=403
ok "a registry that lists nothing" up
said=$(cat "$LOG")
asks 1 "is asked once"
is 0 "$(fr_bytes r)" "and moves nothing"
down
is "" "$(grep -v ": note: " <<<"$said")" "nor is it worth a word"
fr r clear
fr r fault path=blobs/ garbage
ok "an index whose bytes are others" up
ok "is looked at" test "$(fr_bytes r)" -gt 0
down
is "$old" "$(kept)" "and not taken"
fr r clear
ok "another mount" up
asks 1 "does not try it again"
down

# ---- without a registry ----
ok "an index that nobody can have" push a
fr r fault path=referrers stall=h:0
start=$(date +%s%N)
ok "a registry that says nothing" up
ms=$((($(date +%s%N) - start) / 1000000))
ok "is not waited for long ($ms ms)" test $ms -lt 5000
ok "the cache has the file" cmp "$WORK/0/d" "$MNT/d"
down
fr_stop r
start=$(date +%s%N)
ok "without a registry" mount_image "docker://$AT/i@$PIN" "$MNT" --mode fuse --key "$KEY" --cache-dir "$C"
ms=$((($(date +%s%N) - start) / 1000000))
ok "a mount takes no longer ($ms ms)" test $ms -lt 1500
ok "and has the file" cmp "$WORK/0/d" "$MNT/d"
down

# ---- an index whose windows are elsewhere ----
# The cache has it by its layer, which another repository has as well, without an artifact; or it came
# with a layout that is not given any more. It then leads to nothing, and another pass is made.
fr_start r --layout "i=$WORK/ctr" --layout "other=$WORK/ctr"
AT=$(fr_at r)
other() { # [options]
	: >"$WORK/told"
	mount_image "docker://$AT/other@$PIN" "$MNT" --mode fuse --key "$KEY" --cache-dir "$C" --log "$WORK/told" "$@"
}
ALL=$(cd "$WORK/0" && sha256sum a b c d)
rm -rf "$C"
ok "an index beside an image" push a
ok "is kept by a mount" up
down
for how in "another repository" "another layout"; do
	if [ "$how" = "another layout" ]; then
		rm -rf "$C"
		ok "an index in a layout" "$CLOAKFS" index --key "$KEY" --out "$WORK/beside" "docker://$AT/other@$PIN"
		ok "serves a registry's image" other --index "$WORK/beside"
		is "" "$(grep warning "$WORK/told")" "as it is"
		is "$ALL" "$(cd "$MNT" && sha256sum a b c d)" "with its windows"
		down
	fi
	ok "$how: a mount" other
	matches 'kept index of it is not used: .*/other is not known to have them' "$(cat "$LOG" "$WORK/told")" "$how: says that the index leads to nothing"
	is "$ALL" "$(cd "$MNT" && sha256sum a b c d)" "$how: and reads the layer"
	down
	ok "$how: the next mount" other
	is "" "$(grep warning "$WORK/told")" "$how: has the pass's own index"
	is "$ALL" "$(cd "$MNT" && sha256sum a b c d)" "$how: and reads by it"
	down
done

finish
