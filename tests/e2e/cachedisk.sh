#!/bin/bash
# cachedisk.sh - the cache below mounts of images in a registry, and what happens to it: processes
# are killed while they fill it, its disk fills, goes read-only, dies, changes bytes by accident
# and by malice. Right bytes all the same; what is right in it is used, what is not is fetched.
#   SEED=N   when is killed, which bytes change
[ -n "${OWN_NS:-}" ] || OWN_NS=1 exec unshare --mount --propagation private bash "$0" "$@"
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"
# shellcheck source=tests/e2e/lib/registry.sh
. "$LIB/registry.sh"

SEED=${SEED:-$(($(date +%s) % 32768))}
RANDOM=$SEED
note "SEED=$SEED"
N_KILLS=${N_KILLS:-100}
others_go
MNT=$WORK/mnt
C=$WORK/cache
KEY=$WORK/key.pem
TIMEOUT=1500 # ms: of a registry that is not there
mkdir "$MNT"
export CLOAKFS_CONFIG=$WORK/cloakfs.json
jq -n --argjson t $TIMEOUT '{registry: {timeout_ms: $t}}' >"$CLOAKFS_CONFIG"

# ---- the images: of noise, one sealed, one as skopeo encrypts and with an index beside it ----
mkdir -p "$WORK/0/f" "$WORK/1/g" "$WORK/tree"
for i in $(seq 30); do head -c $((30000 + i * 1000)) /dev/urandom >"$WORK/0/f/$i"; done
for i in $(seq 8); do head -c 170000 /dev/urandom >"$WORK/1/g/$i"; done
cp -r "$WORK/0/f" "$WORK/1/g" "$WORK/tree"
(cd "$WORK/tree" && sha256sum -- */*) >"$WORK/sums"
openssl genrsa -out "$KEY" 2048 2>"$LOG"
openssl pkey -in "$KEY" -pubout -out "$WORK/pub.pem"
layout_new "$WORK/plain"
for i in 0 1; do
	tar -C "$WORK/$i" -cf "$WORK/$i.tar" --format=posix .
	layout_add "$WORK/plain" "$WORK/$i.tar" gzip
done
layout_finish "$WORK/plain"
"$CLOAKFS" encrypt --key "$WORK/pub.pem" "oci:$WORK/plain:latest" "oci:$WORK/sealed:latest" >"$LOG" 2>&1 &&
	"$CLOAKFS" encrypt --cipher ctr --key "$WORK/pub.pem" "oci:$WORK/plain:latest" "oci:$WORK/ctr:latest" >"$LOG" 2>&1 &&
	"$CLOAKFS" index --key "$KEY" "oci:$WORK/ctr:latest" >"$LOG" 2>&1 || bail "encrypting" "$(cat "$LOG")"
fr_start r --layout "i/sealed=$WORK/sealed" --layout "i/ctr=$WORK/ctr"
declare -A SIZE LAYERS PIN
for i in sealed ctr; do
	PIN[$i]=docker://$(fr_at r)/i/$i@sha256:$(basename "$(layout_manifest "$WORK/$i")")
	LAYERS[$i]="$(basename "$(layout_blob "$WORK/$i" 0)")|$(basename "$(layout_blob "$WORK/$i" 1)")"
	SIZE[$i]=$(cat "$(layout_blob "$WORK/$i" 0)" "$(layout_blob "$WORK/$i" 1)" | wc -c)
done

# ---- helpers ----
up() { # IMAGE [options]
	local image=$1
	shift
	: >"$WORK/told"
	mount_image "${PIN[$image]}" "$MNT" --key "$KEY" --cache-dir "$C" --prefetch none --log "$WORK/told" "$@" ||
		{ fail "$image mounts" "SEED=$SEED $(cat "$LOG")"; return 1; }
	cp "$LOG" "$WORK/said" # before there was a log
}
down() {
	"$CLOAKFS" umount "$MNT" >"$LOG" 2>&1 || fail "umount" "$(cat "$LOG")"
}
# right [DIR]: every file is as it was.
right() {
	(cd "${1:-$MNT}" && sha256sum -c --quiet "$WORK/sums")
}
# half: some of the files.
half() {
	(cd "$MNT" && head -n 15 "$WORK/sums" | sha256sum -c --quiet)
}
# moved IMAGE: bytes of its layers since the mark.
moved() {
	fr_log r | awk -v l="/blobs/sha256:(${LAYERS[$1]})" '$4 ~ l { sum += $7 } END { print sum + 0 }'
}
# kept IMAGE: bytes of its layers in the cache.
kept() {
	"$CLOAKFS" cache ls --json --cache-dir "$C" | jq --arg l "${LAYERS[$1]}" '[.blobs[] | select(.digest | test($l)) | .bytes_there] | add // 0'
}
# network FIELD: of the status; where that cannot be had it is said why, and asked again.
network() {
	local i value
	for i in 1 2 3 4 5; do
		"$CLOAKFS" status --json "$MNT" >"$WORK/status" 2>&1
		value=$(jq ".mounts[0].network.$1" "$WORK/status")
		[ "$value" = null ] || break
		note "status, try $i: $(tr -d '\n' <"$WORK/status")" >&2
	done
	echo "$value"
}
prefetched() {
	[ "$("$CLOAKFS" status --json "$MNT" | jq '.mounts[0].network | .prefetch_total > 0 and .prefetch_done == .prefetch_total')" = true ]
}
# fill IMAGE: the cache has all of it, and nobody uses it.
fill() {
	rm -rf "$C"
	up "$1" --prefetch all || return 1
	wait_until 20 prefetched || fail "$1: the cache is filled" "$("$CLOAKFS" status "$MNT")"
	down
}
# reads IMAGE TEXT: a fresh mount, all of it, its registry's log marked before.
reads() {
	local image=$1 text=$2
	shift 2
	fr_mark r
	up "$image" "$@" || return 1
	ok "$image: $text: right bytes (SEED=$SEED)" right
}
# one_line TEXT REGEX: notes apart, and indexes that are not kept, of each layer.
one_line() {
	is "1 1" "$(cat "$WORK/said" "$WORK/told" | grep -vcE 'note: |its index cannot be kept') $(cat "$WORK/said" "$WORK/told" | grep -cE "$2")" \
		"$1: one line says so ($(cat "$WORK/said" "$WORK/told" | tail -n 1))"
}
# damage HOW: what is in each file of the cache, in its place.
damage() {
	find "$C" -type f ! -name lock -print0 | sort -z | SEED=$SEED xargs -0 perl -e '
		my $how = shift; srand $ENV{SEED};
		sub get { my ($f) = @_; open my $h, "<:raw", $f or die "$f: $!"; local $/; my $d = <$h>; return $d // ""; }
		sub put { my ($f, $d) = @_; open my $h, "+<:raw", $f or die "$f: $!"; print $h $d; truncate $h, length $d; close $h or die "$f: $!"; }
		my %all = map { $_ => get($_) } @ARGV;
		my @names = sort keys %all;
		for my $i (0 .. $#names) {
			my $d = $all{$names[$i]};
			if ($how eq "all") { $d = ~$d; }
			elsif ($how eq "some") { for (1 .. 160) { my $at = int rand length $d; substr($d, $at, 1) ^= chr(1 << int rand 8); } }
			elsif ($how eq "cut") { $d = substr $d, 0, int(length($d) * rand); }
			elsif ($how eq "exchanged") { $d = $all{$names[$i - 1]}; }
			elsif ($how eq "shifted") { # each block, and its word in the map, where the one before it was
				my $n = int((length($d) - 64) / 16392) - 1; # but the last, which is shorter
				my $map = ($n + 1) * 16384 + 64;
				$d = substr($d, 16384, ($n - 1) * 16384) . substr($d, 0, 16384) . substr($d, $n * 16384, $map - $n * 16384) .
					substr($d, $map + 8, ($n - 1) * 8) . substr($d, $map, 8) . substr($d, $map + $n * 8) if $n > 1;
			}
			elsif ($how eq "zero") { $d = "\0" x length $d; }
			put($names[$i], $d);
		}' "$1"
}

# ---- killed while it fills the cache ----
# kill_one IMAGE MS [options]: a mount fills the cache, is read from, and after MS is killed. What
# was read of it by then is right.
kill_one() {
	local image=$1 ms=$2 pid reader first=$((RANDOM % 30))
	shift 2
	"$CLOAKFS" mount --foreground --mode fuse --prefetch all --key "$KEY" --cache-dir "$C" "$@" "${PIN[$image]}" "$MNT" \
		>"$WORK/killed" 2>&1 </dev/null &
	pid=$!
	(until cd "$MNT/f" 2>/dev/null; do kill -0 $pid 2>/dev/null || exit; done
	cd .. && { tail -n +$first "$WORK/sums"; head -n $first "$WORK/sums"; } | cut -c 67- | xargs sha256sum) >"$WORK/read" 2>/dev/null &
	reader=$!
	sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
	kill -9 $pid
	wait $pid $reader 2>/dev/null
	! is_mounted "$MNT" || "$CLOAKFS" umount "$MNT" >"$LOG" 2>&1 || echo "umount: $(cat "$LOG")" >>"$WORK/wrong"
	! is_mounted "$MNT" || echo "still mounted" >>"$WORK/wrong"
	grep -vxFf "$WORK/sums" "$WORK/read" >>"$WORK/wrong"
	n_read=$((n_read + $(wc -l <"$WORK/read")))
}
# check_one IMAGE [options]: what the cache has is used, and right
check_one() {
	local image=$1 there
	shift
	there=$(kept "$image")
	reads_quietly "$image" "$@" || { echo "bytes of $image" >>"$WORK/wrong"; return; }
	[ $# -gt 0 ] || [ "$(moved "$image")" -le $((SIZE[$image] - there)) ] ||
		echo "$image: $there of ${SIZE[$image]} were there, $(moved "$image") moved" >>"$WORK/wrong"
	[ "$there" = 0 ] || [ "$there" = "${SIZE[$image]}" ] || n_parts=$((n_parts + 1))
}
reads_quietly() {
	local rc
	fr_mark r
	up "$@" || return 1
	right >"$WORK/sums.log" 2>&1
	rc=$?
	[ $rc = 0 ] || note_file "wrong" "$WORK/sums.log"
	down
	return $rc
}
: >"$WORK/wrong"
n_parts=0
n_read=0
fr r set rate=20000000
from=$(date +%s%N)
fill sealed
took=$((($(date +%s%N) - from) / 1000000))
for i in $(seq "$N_KILLS"); do
	case $((i % 6)) in
	0 | 1) image=sealed options= ;;
	2 | 3) image=ctr options= ;;
	4 | 5) image=sealed options="--cache-size 1M" ;; # which makes room all the time
	esac
	# shellcheck disable=SC2086
	kill_one $image $((RANDOM % (took + 10))) $options
	# shellcheck disable=SC2086
	[ $((i % 2)) = 0 ] || {
		check_one $image $options
		case $((RANDOM % 3)) in
		0) rm -rf "$C" ;;
		1) rm -f "$C/blobs/$(find "$C/blobs" -type f -printf '%f\n' | shuf -n 1)" ;;
		2) "$CLOAKFS" cache prune --cache-dir "$C" --cache-size 1M >"$LOG" 2>&1 || echo "prune: $(cat "$LOG")" >>"$WORK/wrong" ;;
		esac
	}
done
fr r set rate=0
is "" "$(cat "$WORK/wrong")" "$N_KILLS times killed within $took ms: right bytes, and what was kept is used (SEED=$SEED)"
note "$n_parts times a part was there, $n_read files read by those that were killed"
[ $n_parts -ge $((N_KILLS / 10)) ] && pass "killed: in the middle of it" || fail "killed: in the middle of it" "$n_parts times"
ok "killed: the cache is well" "$CLOAKFS" cache verify --cache-dir "$C"
for image in sealed ctr; do
	reads $image "after all" && down
	reads $image "after that" && down
	is 0 "$(moved $image)" "$image: after that: nothing is fetched"
done

# ---- every byte wrong, or many, by accident ----
# With nobody there, and below a mount that has read nothing of the files yet.
for image in sealed ctr; do
	for how in all some cut exchanged shifted zero; do
		fill $image
		[ "$(kept $image)" = "${SIZE[$image]}" ] || fail "$image: all of it is kept" "$(kept $image) of ${SIZE[$image]}"
		damage $how
		reads $image "$how"
		is 0 "$(network refetches)" "$image: $how: what is damaged is as good as absent"
		down
		[ "$(moved $image)" -gt $((SIZE[$image] / 2)) ] && pass "$image: $how: the registry is asked again" ||
			fail "$image: $how: the registry is asked again" "$(moved $image) of ${SIZE[$image]}"
		reads $image "$how, afterwards" && down
		is 0 "$(moved $image)" "$image: $how, afterwards: and all is well"

		fill $image
		fr_mark r
		up $image --mode fuse
		is 0 "$(moved $image)" "$image: $how, while mounted: all is there"
		damage $how
		ok "$image: $how, while mounted: right bytes (SEED=$SEED)" right
		is 0 "$(network refetches)" "$image: $how, while mounted: what is damaged is as good as absent"
		down
		[ "$(moved $image)" -gt $((SIZE[$image] / 2)) ] && pass "$image: $how, while mounted: the registry is asked again" ||
			fail "$image: $how, while mounted: the registry is asked again" "$(moved $image) of ${SIZE[$image]}"
		reads $image "$how, while mounted, afterwards" && down
	done
done

# ---- by malice: checksums fit what is wrong ----
# lie IMAGE LAYER FIRST [LAST]: the cache has the layer's blob, of which these bytes are wrong.
lie() {
	local blob hex
	blob=$(layout_blob "$WORK/$1" "$2")
	hex=$(basename "$blob")
	perl -e 'local $/; $_ = <STDIN>; my ($a, $b) = @ARGV; substr($_, $a, $b - $a) = ~substr($_, $a, $b - $a); print' \
		"$3" "${4:-$(($3 + 1))}" <"$blob" >"$WORK/lie"
	"$E2E/cacheblob" --as "$hex" "$C" "$WORK/lie" 10 >"$LOG" || fail "a lie" "$(cat "$LOG")"
}
for image in sealed ctr; do
	size=$(stat -c %s "$(layout_blob "$WORK/$image" 1)")
	fill $image
	lie $image 1 $((size / 2))
	fr_mark r
	up $image --mode fuse --metrics "unix:$WORK/metrics"
	ok "$image: a lie of the disk: right bytes" right
	is 1 "$(network refetches)" "$image: a lie of the disk: one refetch is counted"
	matches '^cloakfs_refetches_total 1$' "$(curl -sS --unix-socket "$WORK/metrics" http://x/metrics 2>&1)" "$image: a lie of the disk: and told"
	ok "$image: a lie of the disk: as a failure to verify" [ "$("$CLOAKFS" status --json "$MNT" | jq '.mounts[0].verification_failures')" = 1 ]
	one_line "$image: a lie of the disk" 'layer 1 .*(differs|not authentic)'
	down
	ok "$image: a lie of the disk: little is fetched ($(moved $image) bytes)" [ "$(moved $image)" -ge 16384 -a "$(moved $image)" -le 400000 ]
	reads $image "a lie of the disk, afterwards" && down
	is 0 "$(moved $image)" "$image: a lie of the disk, afterwards: it is mended"
	lie $image 0 0 "$(stat -c %s "$(layout_blob "$WORK/$image" 0)")"
	lie $image 1 0 "$size"
	reads $image "nothing but lies" && down
	reads $image "nothing but lies, afterwards" && down
	# What comes while others complain of its neighbours is not always kept.
	ok "$image: nothing but lies, afterwards: it is mended ($(moved $image) bytes)" [ "$(moved $image)" -le 65536 ]
done

# ---- a disk that fills ----
# kept_less IMAGE TEXT: a part was kept, and is used
used_part() {
	[ "$(moved "$1")" -gt 0 ] && [ "$(moved "$1")" -lt "${SIZE[$1]}" ] && pass "$1: $2: what was kept is used" ||
		fail "$1: $2: what was kept is used" "$(moved "$1") of ${SIZE[$1]} fetched"
}
mkdir "$WORK/disk"
C=$WORK/disk/cache
for image in sealed ctr; do
	mount -t tmpfs -o size=1500k tmpfs "$WORK/disk" || bail "a small disk"
	reads $image "a disk that fills" --cache-size 1G
	one_line "$image: a disk that fills" "not kept for now: cannot write to $C: No space left on device"
	down
	reads $image "a disk that was full" --cache-size 1G
	used_part $image "a disk that was full"
	down
	rm -rf "$C"
	head -c 2000000 /dev/zero >"$WORK/disk/full" 2>"$LOG"
	mkdir "$C"
	reads $image "a disk that is full" --cache-size 1G
	one_line "$image: a disk that is full" "not kept for now: cannot write to $C: No space left on device"
	down
	umount "$WORK/disk" || bail "the small disk goes"
done

# ---- a disk that becomes read-only, and one that dies ----
truncate -s 24M "$WORK/ext4"
mkfs.ext4 -q -F "$WORK/ext4" >"$LOG" 2>&1 || bail "a filesystem" "$(cat "$LOG")"
# disk_ails ro|dies
disk_ails() {
	case $1 in
	ro) echo 1 >"/sys/fs/ext4/$(basename "$(findmnt -nro SOURCE "$WORK/disk")")/trigger_fs_error" ;;
	dies) perl -e 'open my $d, "<", $ARGV[0] or die; my $how = pack "L", 2; ioctl $d, 0x8004587d, $how or die "shutdown: $!"' "$WORK/disk" ;;
	esac
	! touch "$WORK/disk/x" 2>/dev/null || fail "the disk ails"
}
for image in sealed ctr; do
	for how in ro dies; do
		mount -o loop,errors=remount-ro "$WORK/ext4" "$WORK/disk" || bail "a disk"
		rm -rf "$C"
		up $image --mode fuse
		half >"$LOG" 2>&1 || fail "$image: $how: before" "$(cat "$LOG")"
		disk_ails $how
		fr_mark r
		ok "$image: $how in mid-mount: right bytes" right
		one_line "$image: $how in mid-mount" "not kept for now: cannot write to $C: (Read-only file|Input/output)"
		down
		if [ $how = ro ]; then
			reads $image "$how at mount"
			one_line "$image: $how at mount" "not kept for now: cannot write to $C: Read-only file"
			down
			used_part $image "$how at mount"
		fi
		umount "$WORK/disk" || bail "the disk goes"
		e2fsck -fy "$WORK/ext4" >"$LOG" 2>&1
	done
done
C=$WORK/cache

# ---- two mounts of one image ----
for image in sealed ctr; do
	rm -rf "$C"
	up $image --mode fuse
	half >"$LOG" 2>&1 || fail "$image: two mounts: the first" "$(cat "$LOG")"
	fr_mark r
	mount_image "${PIN[$image]}" "$WORK/mnt2" --key "$KEY" --cache-dir "$C" --prefetch none --mode fuse || fail "two mounts" "$(cat "$LOG")"
	is "" "$(fr_log r | grep -v '/referrers/')" "$image: two mounts: the second asks for nothing to mount"
	is $((${#image} == 3)) "$(fr_count r /referrers/)" "$image: two mounts: but for whether skopeo's has a newer index"
	(cd "$WORK/mnt2" && head -n 15 "$WORK/sums" | sha256sum -c --quiet) >"$LOG" 2>&1 || fail "$image: two mounts: the second" "$(cat "$LOG")"
	is 0 "$(moved $image)" "$image: two mounts: nor for what the first one has read"
	ok "$image: two mounts: it reads the rest" right "$WORK/mnt2"
	fr_mark r
	ok "$image: two mounts: so does the first" right
	is 0 "$(moved $image)" "$image: two mounts: which finds it kept"
	is "" "$(tail -n +2 "$WORK/told")" "$image: two mounts: nothing is said"
	down
	ok "$image: two mounts: umount" "$CLOAKFS" umount "$WORK/mnt2"
done

# ---- the bound ----
# Of a larger image, whose files are read through twice, with a cache for half of it.
mkdir -p "$WORK/large"
for i in $(seq 16); do head -c 600000 /dev/urandom >"$WORK/large/$i"; done
(cd "$WORK/large" && sha256sum -- *) >"$WORK/large.sums"
tar -C "$WORK/large" -cf "$WORK/large.tar" .
layout_new "$WORK/plain-large"
layout_add "$WORK/plain-large" "$WORK/large.tar" gzip
layout_finish "$WORK/plain-large"
"$CLOAKFS" encrypt --key "$WORK/pub.pem" "oci:$WORK/plain-large:latest" "oci:$WORK/sealed-large:latest" >"$LOG" 2>&1 || bail "encrypting" "$(cat "$LOG")"
fr_start large --layout "i/large=$WORK/sealed-large"
on_disk() {
	find "$C" -type f -printf '%b\n' | awk '{ n += $1 } END { print n * 512 }'
}
for how in none all; do
	rm -rf "$C"
	most=0
	for pass in 1 2; do
		fr_mark large
		mount_image "docker://$(fr_at large)/i/large" "$MNT" --mode fuse --key "$KEY" --cache-dir "$C" --cache-size 4M --prefetch $how ||
			fail "the bound, prefetch $how: it mounts" "$(cat "$LOG")"
		while read -r line; do
			echo "$line" | (cd "$MNT" && sha256sum -c --quiet) || echo "$line"
			now=$(on_disk)
			[ "$now" -lt $most ] || most=$now
		done <"$WORK/large.sums" >"$WORK/wrong" 2>&1
		is "" "$(cat "$WORK/wrong")" "the bound, prefetch $how: right bytes, time $pass"
		[ $how = none ] || matches 'the image has 9 MiB and the cache room for 4 MiB' "$(cat "$LOG")" "the bound: it is said that it is small"
		down
	done
	[ $most -le $((4 << 20)) ] && [ $most -ge $((3 << 20)) ] && pass "the bound, prefetch $how: the cache is full, and no more ($most bytes)" ||
		fail "the bound, prefetch $how: the cache is full, and no more" "$most bytes"
done

# ---- the registry goes, the cache stays ----
sometime() { # FILE: it is read, or an error; MS and RC
	local from
	from=$(date +%s%N)
	timeout 60 cat "$MNT/$1" >"$WORK/got" 2>"$WORK/err"
	RC=$?
	MS=$((($(date +%s%N) - from) / 1000000))
}
unset FR_MARK[r]
PORT=${FR_PORT[r]}
for image in sealed ctr; do
	rm -rf "$C"
	up $image --mode fuse
	half >"$LOG" 2>&1 || fail "$image: before the registry goes" "$(cat "$LOG")"
	down
	fr_stop r
	up $image --mode fuse && pass "$image: it mounts without its registry"
	ok "$image: without it: what is kept is read" half
	is "30 8" "$(ls "$MNT/f" | wc -l) $(ls "$MNT/g" | wc -l)" "$image: without it: all names"
	sometime g/8
	matches 'Input/output error' "$(cat "$WORK/err")" "$image: without it: what is not kept is an error"
	[ $MS -lt $((TIMEOUT + 20000)) ] && pass "$image: without it: in time" || fail "$image: without it: in time" "$MS ms"
	fr_start r --port "$PORT" --layout "i/sealed=$WORK/sealed" --layout "i/ctr=$WORK/ctr"
	ok "$image: the registry is back: all of it" wait_until 60 right
	down
	fr_stop r
	ok "$image: and without it once more" up $image
	ok "$image: all of it" right
	down
	fr_start r --port "$PORT" --layout "i/sealed=$WORK/sealed" --layout "i/ctr=$WORK/ctr"
done
finish
