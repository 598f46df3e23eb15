# pull.sh - an image in a registry: how long until a file of it can be read and its python3 has run, and
# what is moved for that; many readers; one large file. Over a network of 20 ms and 100 Mbit/s, as the
# registry of tests/fault models one (tests/fault/shape.h), and on loopback; beside copying and unpacking, and
# beside stargz-snapshotter's filesystem and the same image, not encrypted.
#   DELAY=20 RATE=12500000   milliseconds of a round trip; bytes a second
#   IMAGES=DIR               where the images are made; those that are there are taken
#   FULL_ROUNDS=1            rounds of what moves the whole image
# shellcheck shell=bash
# shellcheck source=tests/e2e/lib/registry.sh
. tests/e2e/lib/registry.sh

DELAY=${DELAY:-20}
RATE=${RATE:-12500000}
FULL_ROUNDS=${FULL_ROUNDS:-1}
PULL=$WORK/pull
IMAGES=${IMAGES:-$PULL/images}
MNT=$PULL/mnt
STARGZ=$BUILD/bench/stargz
mkdir -p "$PULL" "$IMAGES" "$MNT"
PYTHON="python3 -c print(1)"

# ---- the images ----

# A Debian with a python3, of what this machine has: five layers, of which a start needs four.
image_python() { # LAYOUT
	local paths
	layout_new "$1"
	while read -r paths; do
		# shellcheck disable=SC2086
		(cd / && ls -d $paths 2>/dev/null) | tar -C / -cf "$1.tar" --sort=name --format=posix --exclude='*.a' -T - 2>"$LOG"
		layout_add "$1" "$1.tar" gzip
	done <<'LAYERS'
bin sbin lib lib64 usr/lib64 etc/passwd etc/group etc/ld.so.conf etc/ld.so.conf.d etc/ld.so.cache usr/share/zoneinfo usr/share/i18n
usr/lib/x86_64-linux-gnu
usr/bin
usr/lib/python3*
usr/share/perl usr/share/man usr/share/vim etc/python3*
LAYERS
	rm -f "$1.tar"
	layout_finish "$1" latest
}

# image_estargz SRC DST [LIST]: the same as eStargz, the files of LIST to be prefetched.
image_estargz() {
	local i sum ids
	layout_new "$2"
	for i in $(seq 0 $(($(layout_n_layers "$1") - 1))); do
		gzip -dc "$(layout_blob "$1" "$i")" >"$2.tar"
		# shellcheck disable=SC2086
		read -r -a ids < <("$STARGZ" convert "$2.tar" "$2.gz" ${3:-})
		sum=$(blob_put "$2" "$2.gz")
		jq -nc --arg t "$IMG_TYPE.layer.v1.tar+gzip" --arg d "sha256:$sum" --argjson s "$(stat -c %s "$2.gz")" \
			--arg i "${ids[0]}" --arg c "${ids[1]}" '{mediaType: $t, digest: $d, size: $s, diff_id: $i,
			annotations: {"containerd.io/snapshot/stargz/toc.digest": $c}}' >>"$2.layers"
	done
	rm -f "$2.tar" "$2.gz"
	layout_finish "$2" latest
}

make_images() {
	[ ! -e "$IMAGES/done" ] || return 0
	echo "making an image of a Debian with python3 ..."
	openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$IMAGES/rsa.pem" 2>"$LOG"
	openssl pkey -in "$IMAGES/rsa.pem" -pubout -out "$IMAGES/rsa.pub"
	image_python "$IMAGES/plain"
	must mount_image "oci:$IMAGES/plain:latest" "$MNT" --cache-dir none --record "$IMAGES/trace"
	# shellcheck disable=SC2086
	must chroot "$MNT" $PYTHON
	must "$CLOAKFS" umount "$MNT"
	must "$CLOAKFS" encrypt --key "$IMAGES/rsa.pub" "oci:$IMAGES/plain:latest" "oci:$IMAGES/sealed:latest"
	must "$CLOAKFS" encrypt --prefetch "$IMAGES/trace" --key "$IMAGES/rsa.pub" "oci:$IMAGES/plain:latest" "oci:$IMAGES/sealed-trace:latest"
	encrypt "$IMAGES/plain" "$IMAGES/skopeo" --encryption-key "jwe:$IMAGES/rsa.pub"
	cp -r "$IMAGES/skopeo" "$IMAGES/indexed"
	cp -r "$IMAGES/skopeo" "$IMAGES/indexed-trace"
	must "$CLOAKFS" index --key "$IMAGES/rsa.pem" "oci:$IMAGES/indexed:latest"
	must "$CLOAKFS" index --prefetch "$IMAGES/trace" --key "$IMAGES/rsa.pem" "oci:$IMAGES/indexed-trace:latest"
	tail -n +2 "$IMAGES/trace" | cut -d ' ' -f 4 >"$IMAGES/list"
	image_estargz "$IMAGES/plain" "$IMAGES/estargz"
	image_estargz "$IMAGES/plain" "$IMAGES/estargz-trace" "$IMAGES/list"
	: >"$IMAGES/done"
}

layers_bytes() { # LAYOUT
	jq '[.layers[].size] | add' "$(layout_manifest "$1")"
}

# ---- one start ----

now() {
	date +%s.%N
}
less() { # A B: A - B
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.4f\n", a - b }'
}
# moved [UNTIL]: bytes of answers, and requests, that began before then.
moved() {
	fr_log net | awk -v t="${1:-1e12}" '$1 - $10 / 1000 < t { b += $7; n++ } END { print b + 0, n + 0 }'
}
# ready REPO: as little as can be is in memory, but for the registry's blobs and the programs.
ready() {
	cold
	cat "$IMAGES/$1/blobs/sha256/"* "$CLOAKFS" "$STARGZ" >/dev/null
	"$CLOAKFS" --version >/dev/null
	fr_mark net
}
up() { # REPO CACHE [options]
	local repo=$1 cache=$2
	shift 2
	ready "$repo"
	FROM=$(now)
	mount_image "docker://$(fr_at net)/$repo" "$MNT" --key "$IMAGES/rsa.pem" --cache-dir "$cache" "$@" ||
		{ echo "bench: cannot mount $repo"; cat "$LOG"; exit 1; }
	UP=$(now)
}
down() {
	must "$CLOAKFS" umount "$MNT"
	wait_until 10 eval '! is_mounted "$MNT"'
}
# put ROW FIGURE VALUE
put() {
	echo "$3" >>"$PULL/v/$1.$2"
}

# starts ROW REPO CACHE: one mount for a file, another for python3. CACHE: a directory that is kept, or "": empty ones.
starts() {
	local row=$1 repo=$2 kept=$3 cache=${3:-$PULL/cache} b n
	[ -n "$kept" ] || rm -rf "$cache"
	up "$repo" "$cache"
	must cat "$MNT/etc/passwd"
	put "$row" file "$(less "$(now)" "$FROM")"
	put "$row" mount "$(less "$UP" "$FROM")"
	read -r b n < <(moved "$UP")
	put "$row" mount_bytes "$b"
	put "$row" mount_requests "$n"
	down
	[ -n "$kept" ] || rm -rf "$cache"
	up "$repo" "$cache"
	# shellcheck disable=SC2086
	must chroot "$MNT" $PYTHON
	put "$row" python "$(less "$(now)" "$FROM")"
	read -r b n < <(moved)
	put "$row" bytes "$b"
	put "$row" requests "$n"
	down
}
# lazily ROW FIGURE REPO COMMAND...: one of stargz, whose daemon runs already, the layers stacked by overlayfs.
lazily() {
	local row=$1 figure=$2 repo=$3 lazy=$PULL/lazy line lower i b n to from
	shift 3
	rm -rf "$lazy"
	mkdir -p "$lazy"
	mkfifo "$lazy/in" "$lazy/out"
	"$STARGZ" mount "$(fr_at net)/$repo:latest" "$lazy" <"$lazy/in" >"$lazy/out" 2>"$lazy/log" &
	PIDS="$PIDS $!"
	exec {to}>"$lazy/in" {from}<"$lazy/out"
	read -r line <&"$from"
	ready "$repo"
	FROM=$(now)
	echo >&"$to"
	read -r line <&"$from"
	[ "$line" = mounted ] || { echo "bench: stargz cannot mount $repo"; cat "$lazy/log"; exit 1; }
	lower=
	for i in $(seq 0 $(($(layout_n_layers "$IMAGES/$repo") - 1))); do lower=$lazy/$i${lower:+:$lower}; done
	must mount -t overlay -o "ro,lowerdir=$lower" overlay "$MNT"
	UP=$(now)
	must "$@"
	put "$row" "$figure" "$(less "$(now)" "$FROM")"
	case $figure in
	file)
		put "$row" mount "$(less "$UP" "$FROM")"
		read -r b n < <(moved "$UP")
		put "$row" mount_bytes "$b"
		put "$row" mount_requests "$n"
		;;
	python)
		read -r b n < <(moved)
		put "$row" bytes "$b"
		put "$row" requests "$n"
		;;
	esac
	must umount "$MNT"
	exec {to}>&- {from}<&-
	wait $!
	for i in "$lazy"/[0-9]*; do ! is_mounted "$i" || umount -l "$i"; done
}
stargz_starts() { # ROW REPO
	lazily "$1" file "$2" cat "$MNT/etc/passwd"
	# shellcheck disable=SC2086
	lazily "$1" python "$2" chroot "$MNT" $PYTHON
}
# The whole image, decrypted and unpacked.
copies() { # ROW
	local b n i
	rm -rf "$PULL/copy" "$PULL/tree"
	mkdir "$PULL/tree"
	ready skopeo
	FROM=$(now)
	timeout 1200 "$SKOPEO" copy --quiet --src-tls-verify=false --decryption-key "$IMAGES/rsa.pem" \
		"docker://$(fr_at net)/skopeo:latest" "oci:$PULL/copy:latest" >"$LOG" 2>&1 || { cat "$LOG"; exit 1; }
	put "$1" mount "$(less "$(now)" "$FROM")"
	for i in $(seq 0 $(($(layout_n_layers "$PULL/copy") - 1))); do
		must tar -C "$PULL/tree" -xpf "$(layout_blob "$PULL/copy" "$i")"
	done
	must cat "$PULL/tree/etc/passwd"
	put "$1" file "$(less "$(now)" "$FROM")"
	# shellcheck disable=SC2086
	must chroot "$PULL/tree" $PYTHON
	put "$1" python "$(less "$(now)" "$FROM")"
	read -r b n < <(moved)
	put "$1" bytes "$b"
	put "$1" requests "$n"
	put "$1" mount_bytes "$b"
	put "$1" mount_requests "$n"
	rm -rf "$PULL/copy" "$PULL/tree"
}

# figure ROW FIGURE DIVISOR DIGITS: "median (least .. most)", or the median alone where they are the same.
figure() {
	[ -s "$PULL/v/$1.$2" ] || return 0
	sort -n "$PULL/v/$1.$2" | awk -v d="$3" -v f="%.$4f" '{ v[NR] = sprintf(f, $1 / d) }
		END { m = v[int((NR + 1) / 2)]; if (v[1] == v[NR]) print m; else printf "%s (%s .. %s)\n", m, v[1], v[NR] }'
}
share() { # ROW FIGURE WHOLE: per cent
	[ -s "$PULL/v/$1.$2" ] || return 0
	sort -n "$PULL/v/$1.$2" | awk -v w="$3" '{ v[NR] = $1 } END { printf "%.2f %%\n", 100 * v[int((NR + 1) / 2)] / w }'
}
row() { # ROW TEXT REPO
	printf '| %s | %s | %s, %s | %s | %s | %s | %s | %s |\n' "$2" "$(figure "$1" mount 1 2)" "$(figure "$1" mount_bytes 1048576 2)" \
		"$(share "$1" mount_bytes "$(layers_bytes "$IMAGES/$3")")" "$(figure "$1" mount_requests 1 0)" "$(figure "$1" file 1 2)" \
		"$(figure "$1" python 1 2)" "$(figure "$1" bytes 1048576 2)" "$(figure "$1" requests 1 0)"
}

starts_table() { # TITLE
	local i repo
	rm -rf "$PULL/v"
	mkdir "$PULL/v"
	for i in $(seq "$ROUNDS"); do
		for repo in sealed sealed-trace indexed indexed-trace; do
			starts $repo $repo ""
			case $repo in
			*-trace) ;;
			*) starts $repo-warm $repo "$PULL/cache" ;;
			esac
		done
		for repo in estargz estargz-trace; do stargz_starts $repo $repo; done
	done
	for i in $(seq "$FULL_ROUNDS"); do copies copy; done
	echo
	echo "A start, $1"
	echo
	echo "| | mount returns, s | MiB moved until then, of the image | requests | first file, s | python3, s | MiB moved | requests |"
	echo "|---|---|---|---|---|---|---|---|"
	row sealed "sealed" sealed
	row sealed-trace "sealed, with a trace" sealed-trace
	row sealed-warm "sealed, the cache warm" sealed
	row indexed "skopeo's, indexed" indexed
	row indexed-trace "skopeo's, indexed, with a trace" indexed-trace
	row indexed-warm "skopeo's, indexed, the cache warm" indexed
	row estargz "stargz, not encrypted" estargz
	row estargz-trace "stargz, not encrypted, with a trace" estargz-trace
	[ "$FULL_ROUNDS" = 0 ] || row copy "\`skopeo copy --decryption-key\`, \`tar -x\`" skopeo
}

# ---- reading ----

# once: bytes of blobs since the mark, and how many times each was sent on average.
once() {
	fr_log net | sed -n 's|^\([0-9.]*\) .*/blobs/\(sha256:[0-9a-f]*\)[^ ]* bytes=\([0-9]*\)-\([0-9]*\) 206 .* \([0-9]*\)$|\2 \3 \4 \1 \5|p' |
		sort -k 1,1 -k 2,2n | awk '{ all += $3 - $2 + 1
		if ($1 != blob) { blob = $1; end = -1 }
		from = $2 > end ? $2 : end + 1
		if ($3 > end) { one += $3 - from + 1; end = $3 } }
		END { printf "%d %.3f\n", all, one ? all / one : 0 }'
}
hwm() {
	awk '/^VmHWM/ { printf "%.0f\n", $2 / 1024 }' "/proc/$(mount_pid "$MNT")/status"
}
read_all() { # AT-A-TIME
	(cd "$MNT" && xargs -d '\n' -n 1 -P "$1" cat <"$PULL/files" >/dev/null) || exit 1
}

reading() { # TITLE
	local i repo bytes times from s out
	rm -rf "$PULL/v"
	mkdir "$PULL/v"
	# 16 files of some MB, from one end of the layers to the other.
	must mount_image "oci:$IMAGES/sealed:latest" "$MNT" --key "$IMAGES/rsa.pem" --cache-dir none
	(cd "$MNT" && find usr/lib/x86_64-linux-gnu usr/bin -type f -size +2M -size -8M | sort) >"$PULL/some"
	LARGE=$(cd "$MNT" && find usr/lib -type f -name '*.so*' -printf '%s %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2)
	down
	awk -v n="$(wc -l <"$PULL/some")" 'int(NR * 16 / n) > int((NR - 1) * 16 / n)' "$PULL/some" >"$PULL/files"
	for i in $(seq "$ROUNDS"); do
		for repo in sealed indexed; do
			rm -rf "$PULL/cache"
			up $repo "$PULL/cache"
			fr_mark net
			from=$(now)
			read_all 16
			s=$(less "$(now)" "$from")
			read -r bytes times < <(once)
			put $repo many "$(awk -v b="$bytes" -v s="$s" 'BEGIN { print b / s }')"
			put $repo many_times "$times"
			put $repo many_bytes "$bytes"
			put $repo many_hwm "$(hwm)"
			down

			rm -rf "$PULL/cache"
			up $repo "$PULL/cache"
			fr_mark net
			from=$(now)
			out=$("$BUILD/bench/readfs" seq "$MNT/$LARGE") || exit 1
			s=$(less "$(now)" "$from")
			read -r bytes times < <(once)
			put $repo seq "$(value mb_per_s "$out")"
			put $repo seq_wire "$(awk -v b="$bytes" -v s="$s" 'BEGIN { print b / s }')"
			down

			[ $repo = sealed ] || continue # a frame of skopeo's is decoded from its start
			rm -rf "$PULL/cache"
			up $repo "$PULL/cache"
			fr_mark net
			out=$("$BUILD/bench/readfs" touch "$MNT/$LARGE") || exit 1
			read -r bytes times < <(once)
			put $repo touch "$(value touch_p50_us "$out")"
			put $repo touch_bytes "$(awk -v b="$bytes" -v n="$(($(stat -c %s "$MNT/$LARGE") / 1048576))" 'BEGIN { print b / n }')"
			down
		done
	done
	echo
	echo "Reading, $1; bytes are those on the wire"
	for repo in sealed indexed; do
		echo "  $repo"
		printf '    %-44s %s\n' "16 readers of 16 files, MB/s" "$(figure $repo many 1e6 2)$(of_rate $repo many)" \
			"each byte moved so many times" "$(figure $repo many_times 1 3)" \
			"MiB moved" "$(figure $repo many_bytes 1048576 2)" \
			"the daemon's memory at most, MiB" "$(figure $repo many_hwm 1 0)" \
			"a large file from start to end, MB/s" "$(figure $repo seq_wire 1e6 2)$(of_rate $repo seq_wire); of the file, $(figure $repo seq 1 0)"
		[ ! -s "$PULL/v/$repo.touch" ] ||
			printf '    %-44s %s\n' "4 KiB once in every MiB of it, p50, ms" "$(figure $repo touch 1000 1)" \
				"KiB moved for each" "$(figure $repo touch_bytes 1024 0)"
	done
}
of_rate() { # ROW FIGURE
	[ "$LIMIT" = none ] || echo ", $(share "$1" "$2" "$LIMIT") of the limit"
}

GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=${GOCACHE:-$PULL/go} must go build -o "$STARGZ" tests/bench/stargz/stargz.go
rm -rf "$PULL/go"
make_images
# shellcheck disable=SC2046
fr_start net $(for i in sealed sealed-trace skopeo indexed indexed-trace estargz estargz-trace; do echo "--layout $i=$IMAGES/$i"; done)
echo "$(layout_n_layers "$IMAGES/plain") layers, $(awk -v n="$(layers_bytes "$IMAGES/plain")" 'BEGIN { printf "%.0f", n / 1048576 }') MiB of gzip," \
	"$(awk -v n="$(layers_bytes "$IMAGES/sealed")" 'BEGIN { printf "%.0f", n / 1048576 }') MiB sealed"
for net in delayed loopback; do
	case $net in
	delayed)
		LIMIT=$RATE
		title="$DELAY ms of round trip, $(awk -v r="$RATE" 'BEGIN { printf "%.0f", r * 8 / 1e6 }') Mbit/s"
		fr net set "delay=$DELAY" "rate=$RATE" slow-start=1
		;;
	loopback)
		LIMIT=none
		title="loopback"
		fr net set delay=0 rate=0 slow-start=0
		;;
	esac
	starts_table "$title"
	reading "$title"
done
fr_stop net
rm -rf "$PULL"
