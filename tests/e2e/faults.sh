#!/bin/bash
# faults.sh - whatever a registry does to a mount that reads from it: right bytes, or an error in
# time; never a wrong byte, never a hang; and right bytes again once it behaves.
#   SEED=N   the offsets of cuts
[ -n "${OWN_NS:-}" ] || OWN_NS=1 exec unshare --mount --propagation private bash "$0" "$@"
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"
# shellcheck source=tests/e2e/lib/registry.sh
. "$LIB/registry.sh"

SEED=${SEED:-$(($(date +%s) % 32768))}
RANDOM=$SEED
note "SEED=$SEED"
SHORT=1200  # ms: a deadline that is awaited,
LONG=20000  # and one that should not be reached
SLACK=20000 # ms beyond four of them, on a busy machine
AWAY=60000  # one that is far away, whose half nobody waits for,
BOUND=40    # seconds: what hangs
BESIDE=12   # cases at a time
FAR=40      # a file that nothing of before comes near to
N_FILES=48
CASES=$WORK/cases
mkdir "$CASES"

own_etc registry.test blobs.test
pki_make registry.test blobs.test

# ---- the images: one sealed, one as skopeo encrypts and with an index beside it ----
# The one is mounted in EROFS mode, the other in FUSE mode, where mounting reads no file: what comes
# along with one, of layers in few large pieces, would be too much to be far from.
mkdir "$WORK/noise"
for i in $(seq $N_FILES); do
	head -c 120000 /dev/urandom >"$WORK/noise/$i"
	echo "file noise/$i from=$WORK/noise/$i" >>"$WORK/spec$((i >= FAR - 9))"
done
for i in 0 1; do
	echo end >>"$WORK/spec$i"
	"$E2E/mktar" <"$WORK/spec$i" >"$WORK/noise$i.tar"
done
printf 'file good data=good\nend\n' | "$E2E/mktar" >"$WORK/good.tar"
layout_new "$WORK/plain"
layout_add "$WORK/plain" "$WORK/noise0.tar" gzip
layout_add "$WORK/plain" "$WORK/noise1.tar" gzip
layout_add "$WORK/plain" "$WORK/good.tar" gzip
layout_finish "$WORK/plain"
(cd "$WORK/noise" && sha256sum -- *) >"$WORK/sums"
openssl genrsa -out "$WORK/key.pem" 2048 2>"$LOG"
openssl pkey -in "$WORK/key.pem" -pubout -out "$WORK/pub.pem"
"$CLOAKFS" encrypt --key "$WORK/pub.pem" "oci:$WORK/plain:latest" "oci:$WORK/sealed:latest" >"$LOG" 2>&1 ||
	bail "encrypting" "$(cat "$LOG")"
encrypt "$WORK/plain" "$WORK/ctr" --encryption-key "jwe:$WORK/pub.pem"
"$CLOAKFS" index --key "$WORK/key.pem" "oci:$WORK/ctr:latest" >"$LOG" 2>&1 || bail "indexing" "$(cat "$LOG")"

# Each case has a repository of its own, so that faults meet it alone.
# shellcheck disable=SC2046
fr_start plain $(for i in $(seq 0 99); do echo "--layout case/s$i=$WORK/sealed --layout case/c$i=$WORK/ctr"; done)
TLS="--tls-cert $PKI/server.pem --tls-key $PKI/server.key --bearer --anonymous --blobs-host blobs.test"
# shellcheck disable=SC2046,SC2086
fr_start tls $TLS $(for i in $(seq 60 99); do echo "--layout case/s$i=$WORK/sealed --layout case/c$i=$WORK/ctr"; done)
fr tls set redirect=1 url-ttl=60000
mkdir -p "/etc/containers/certs.d/registry.test:${FR_PORT[tls]}" "/etc/containers/certs.d/blobs.test:${FR_BLOBS[tls]}"
cp "$PKI/ca.pem" "/etc/containers/certs.d/registry.test:${FR_PORT[tls]}/ca.crt"
cp "$PKI/ca.pem" "/etc/containers/certs.d/blobs.test:${FR_BLOBS[tls]}/ca.crt"

# ---- one case ----

# config FILE DEADLINE-MS
config() {
	jq -n --argjson t "$2" '{request_timeout_ms: (2 * $t), unit_cache_mib: 8, registry: {timeout_ms: $t}}' >"$1"
}
# say ok|not\ ok TEXT [DETAIL]: a case's results, in its own file
say() {
	printf '%s\t%s\t%s\n' "$1" "$2" "${3:-}" >>"$RESULT"
}
# read_file N: its bytes in $DIR/got; RC and what it took, MS.
read_file() {
	local from
	from=$(date +%s%N)
	timeout -s KILL $BOUND cat "$MNT/noise/$1" >"$DIR/got" 2>"$DIR/err" </dev/null
	RC=$?
	MS=$((($(date +%s%N) - from) / 1000000))
}
# What was read of file N is right as far as it goes, and all of it where the read said so.
judge() { # N
	local size
	size=$(stat -c %s "$DIR/got")
	if ! cmp -s -n "$size" "$WORK/noise/$1" "$DIR/got"; then
		echo "wrong bytes"
	elif [ $RC = 0 ]; then
		[ "$size" = "$(stat -c %s "$WORK/noise/$1")" ] && echo right || echo "too few bytes, $size"
	elif [ $RC = 137 ]; then
		echo "hangs"
	elif grep -q 'Input/output error' "$DIR/err"; then
		echo eio
	else
		echo "fails with $(cat "$DIR/err")"
	fi
}
mount_case() { # REF DEADLINE
	local mode=erofs
	case $1 in */case/c*) mode=fuse ;; esac
	config "$DIR/config" "$2"
	CLOAKFS_CONFIG=$DIR/config timeout -s KILL $BOUND "$CLOAKFS" mount --mode $mode --key "$WORK/key.pem" --cache-dir none \
		--log "$DIR/log" "docker://$1" "$MNT" >"$DIR/mount" 2>&1 </dev/null
}
# all_files: as the source has them.
all_files() {
	(cd "$MNT/noise" && timeout -s KILL $BOUND sha256sum -c --quiet "$WORK/sums") >"$DIR/sums" 2>&1
}

# one_case ID TEXT SERVER HOST REPO DEADLINE WANT COMMAND...: mounts, tells the server, reads a file.
# WANT is right or either (an error will do). Clears, and reads all. A fault is for this case's repository, and
# must have been met.
one_case() {
	local id=$1 text=$2 server=$3 repo=case/$5 ref=$4/case/$5 deadline=$6 want=$7 got rule='' line
	shift 7
	DIR=$CASES/$id
	MNT=$DIR/mnt
	RESULT=$DIR/result
	mkdir -p "$MNT"
	: >"$RESULT"
	if ! mount_case "$ref" "$deadline"; then
		say "not ok" "$text: a mount before it" "$(tail -n 1 "$DIR/mount")"
		return
	fi
	for line in "$@"; do
		case $line in fault*) line="$line path=/$repo/" ;; esac
		# shellcheck disable=SC2086
		line=$("$FAULT" ctl "$WORK/$server.sock" $line) || say "not ok" "$text: told so"
		rule=${line:-$rule}
	done
	read_file $FAR
	got=$(judge $FAR)
	case $want:$got in
	right:right) # and not because the kernel asked again
		if grep -q 'error: ' "$DIR/log"; then
			say "not ok" "$text: without an error" "$(grep -m 2 'error: ' "$DIR/log" | tr '\n' ' ')"
		else
			say ok "$text: right"
		fi
		;;
	either:right | either:eio) say ok "$text: $got" ;;
	*) say "not ok" "$text: $got" "wanted $want, after $MS ms; $(tail -n 2 "$DIR/log" | tr '\n' ' ')" ;;
	esac
	[ $MS -lt $((SLACK + 4 * deadline)) ] || say "not ok" "$text: in time" "took $MS ms"
	if [ -n "$rule" ]; then
		[ "$("$FAULT" ctl "$WORK/$server.sock" hits "$rule")" -gt 0 ] || say "not ok" "$text: it met the fault"
		"$FAULT" ctl "$WORK/$server.sock" clear "$rule"
	fi
	heals "$text"
	"$CLOAKFS" umount "$MNT" >"$DIR/umount" 2>&1 || say "not ok" "$text: umount" "$(cat "$DIR/umount")"
}
heals() { # what was being tried again when it did may take its time
	if wait_until 20 all_files; then
		say ok "$1: healed"
	else
		say "not ok" "$1: healed" "$(head -n 3 "$DIR/sums" | tr '\n' ' ') $(tail -n 2 "$DIR/log" | tr '\n' ' ')"
	fi
}

n_cases=0
running=0
# beside COMMAND...: a case's, beside others.
beside() {
	if [ $running -ge $BESIDE ]; then
		wait -n
		running=$((running - 1))
	fi
	"$@" &
	PIDS="$PIDS $!"
	running=$((running + 1))
}
# met SERVER DEADLINE WANT TEXT COMMAND...: with both images.
met() {
	local server=$1 deadline=$2 want=$3 text=$4 image host
	shift 4
	host=$(fr_at "$server")
	[ "$server" != tls ] || host=registry.test:${FR_PORT[tls]}
	for image in s c; do
		beside one_case "$image$n_cases" "$([ $image = s ] && echo sealed || echo skopeo\'s), $text" \
			"$server" "$host" "$image$n_cases" "$deadline" "$want" "$@"
	done
	n_cases=$((n_cases + 1))
}
# The results of all cases, in their order.
report() {
	local f what text detail
	wait_for_cases
	for f in $(ls -d "$CASES"/*/result | sort -V); do
		[ -s "$f" ] || fail "$f: no result"
		while IFS=$'\t' read -r what text detail; do
			if [ "$what" = ok ]; then pass "$text"; else fail "$text" "$detail"; fi
		done <"$f"
		rm "$f"
	done
}
wait_for_cases() {
	while [ $running -gt 0 ]; do
		wait -n
		running=$((running - 1))
	done
}

# ---- once or twice: what is read is right in spite of it ----
for rule in "reset=h:0" "reset=5000" "reset=0" "reset=h:100" "close=h:0" "close=h:50" "close=5000" \
	status=500 status=502 status=503 "status=503 retry-after=1" "status=429 retry-after=1" \
	range=start range=total range=length range=none range=junk range=fewer bare less=100 more=100 \
	page gzip multipart; do
	met plain $LONG right "twice $rule" "fault $rule times=2"
done
# Other bytes than it said: once is an accident, and asked again.
for rule in stall=h:0 stall=h:40 stall=5000 range=shift swap garbage flip=b:0 flip=b:70000; do
	met plain $LONG right "once $rule" "fault $rule times=1"
done
# ---- always, but it can be read all the same ----
for rule in whole chunked http10 "http10 whole" "whole chunked" interim delay=200 drip=300000 \
	reset=5000 close=5000 range=start range=total range=length range=none range=junk bare multipart; do
	met plain $LONG right "always $rule" "fault $rule"
done
# ---- always: an error in time, or the right bytes ----
for rule in reset=h:0 close=h:0 stall=h:0 stall=h:30 stall=0 stall=5000 drip=500 \
	status=500 "status=429 retry-after=60" status=403 status=404 status=416 \
	redirect=http://127.0.0.1:1/ range=shift less=100 more=100 swap garbage flip=b:0 page gzip \
	"whole reset=5000" "whole garbage" "whole less=1" "whole stall=5000"; do
	met plain $SHORT either "always $rule" "fault $rule"
done
# ---- tokens and signed URLs ----
# One at a time: they expire for all.
wait_for_cases
many=$BESIDE
BESIDE=1
met tls $LONG right "tokens expire" "expire tokens"
met tls $LONG right "tokens expire, and the next is refused once" "expire urls" "expire tokens" \
	"fault status=401 times=1 door=registry"
met tls $LONG right "URLs expire" "expire urls"
met tls $LONG right "both expire" "expire urls" "expire tokens"
met tls $SHORT either "always 401" "expire urls" "fault status=401 door=registry"
wait_for_cases
BESIDE=$many
met tls $LONG either "the store refuses once, a URL that is new or not" "fault status=403 times=1 door=blobs"
met tls $LONG right "the store fails twice" "fault status=503 times=2 door=blobs"
met tls $LONG right "the store resets twice" "fault reset=3000 times=2 door=blobs"
met tls $LONG right "the store drops twice" "fault close=h:0 times=2 door=blobs"
met tls $SHORT either "the store always fails" "fault status=500 door=blobs"
met tls $SHORT either "the store always stalls" "fault stall=3000 door=blobs"
met tls $SHORT either "the store lies" "fault garbage door=blobs"

# ---- cut anywhere: two of three of the first answers, at any byte of each ----
# (All could cut a document as often as it is asked for.)
cut_case() { # IMAGE
	local i at
	DIR=$CASES/cut-$1
	MNT=$DIR/mnt
	RESULT=$DIR/result
	mkdir -p "$MNT"
	for i in $(seq 0 90); do
		[ $((i % 3)) != 2 ] || continue
		case $((RANDOM % 4)) in
		0) at=h:$((RANDOM % 700)) ;;
		1) at=$((RANDOM % 1000)) ;;
		*) at=$(((RANDOM << 15 | RANDOM) % 400000)) ;;
		esac
		"$FAULT" ctl "$WORK/plain.sock" fault reset=$at skip=$i times=1 path="/case/${1}99/" >>"$DIR/rules"
	done
	if ! mount_case "$(fr_at plain)/case/${1}99" $LONG; then
		say "not ok" "$1: cut anywhere: it mounts" "$(tail -n 1 "$DIR/mount")"
		return
	fi
	say ok "$1: cut anywhere: it mounts"
	all_files && say ok "$1: cut anywhere: right bytes" || say "not ok" "$1: cut anywhere: right bytes" \
		"SEED=$SEED $(head -n 3 "$DIR/sums" | tr '\n' ' ') $(tail -n 2 "$DIR/log" | tr '\n' ' ')"
	say ok "$1: cut anywhere: $(while read -r i; do "$FAULT" ctl "$WORK/plain.sock" hits "$i"; done <"$DIR/rules" |
		grep -c 1) times"
	"$CLOAKFS" umount "$MNT" >"$DIR/umount" 2>&1 || say "not ok" "$1: umount" "$(cat "$DIR/umount")"
}
beside cut_case s
beside cut_case c
report

# ---- nobody there ----
# Names are kept for a while by who asked for them: the one that goes is that of a blob store that
# was not asked before.
# Each is a mount of its own again; what happens to the registry happens to no other.
fr_start gone --blobs-host blobs.test --tls-cert "$PKI/server.pem" --tls-key "$PKI/server.key" --layout "case/s=$WORK/sealed" --layout "case/c=$WORK/ctr"
mkdir -p "/etc/containers/certs.d/registry.test:${FR_PORT[gone]}"
cp "$PKI/ca.pem" "/etc/containers/certs.d/registry.test:${FR_PORT[gone]}/ca.crt"
# absent TEXT IMAGE AWAY BACK: commands that make the registry go, and come back.
absent() {
	local text=$1 image=$2 got
	RESULT=$CASES/absent
	DIR=$CASES/$image
	MNT=$DIR/mnt
	mkdir -p "$MNT"
	: >"$RESULT"
	if ! mount_case "registry.test:${FR_PORT[gone]}/case/$image" $SHORT; then
		fail "$text: a mount before it" "$(tail -n 1 "$DIR/mount")"
		return
	fi
	read_file 3
	is right "$(judge 3)" "$text: before"
	eval "$3"
	read_file $FAR
	is eio "$(judge $FAR)" "$text: an error"
	[ $MS -lt $((SLACK + 4 * SHORT)) ] && pass "$text: in time" || fail "$text: in time" "took $MS ms"
	read_file 3
	is right "$(judge 3)" "$text: what is there stays"
	is "good noise" "$(timeout $BOUND ls "$MNT" | xargs)" "$text: and names"
	eval "$4"
	read_file $FAR
	wait_until 20 all_files && pass "$text: all of it" || fail "$text: all of it" "$(cat "$DIR/sums")"
	ok "$text: umount" "$CLOAKFS" umount "$MNT"
}

# ---- all of it at once, while four read ----
STORM=("reset=h:0 every=2" "reset=20000 every=2" "close=h:30 every=3" "close=9000 every=2" "status=503 every=2" \
	"status=429 retry-after=1 every=3" "stall=3000 every=4" "drip=2000 every=4" "range=shift every=2" "range=start every=2" \
	"range=fewer" "bare every=2" "whole every=2" "swap every=2" "garbage every=2" "flip=b:77 every=2" "page every=2" \
	"gzip every=2" "http10 every=2" "chunked" "interim" "less=10 every=2" "status=401 every=2 door=registry" \
	"status=403 every=2 door=blobs" "close=h:0 every=2 door=token")
storm_reader() { # FIRST LAST: each file once; what came of each
	local i
	DIR=$CASES/storm/$1
	mkdir -p "$DIR"
	for i in $(seq "$1" "$2"); do
		read_file "$i"
		echo "$(judge "$i") $MS" >>"$DIR/result"
	done
}
storm() { # IMAGE
	local i p readers='' n_rules=0
	mkdir -p "$CASES/storm/mnt"
	rm -rf "$CASES/storm/"[0-9]*
	DIR=$CASES/storm
	MNT=$DIR/mnt
	fr tls set delay=20 rate=3000000
	if ! mount_case "registry.test:${FR_PORT[tls]}/case/${1}99" $SHORT; then
		fail "a storm, $1: it mounts" "$(tail -n 1 "$DIR/mount")"
		return
	fi
	for i in 1 2 3 4 5; do
		fr tls fault "${STORM[RANDOM % ${#STORM[@]}]}" >/dev/null
	done
	fr tls expire urls
	for i in 0 1 2 3; do
		storm_reader $((i * N_FILES / 4 + 1)) $(((i + 1) * N_FILES / 4)) &
		readers="$readers $!"
		PIDS="$PIDS $!"
	done
	for p in $readers; do
		while ! ended "$p"; do
			fr tls fault "${STORM[RANDOM % ${#STORM[@]}]}" >/dev/null
			case $((RANDOM % 6)) in
			0) fr tls expire tokens ;;
			1) fr tls expire urls ;;
			2) fr tls drop ;;
			esac
			n_rules=$((n_rules + 1))
			[ $((n_rules % 3)) != 0 ] || fr tls clear
			sleep 0.1 # for as long it blows from there
		done
	done
	fr tls clear
	fr tls set delay=0 rate=0
	is "" "$(cat "$CASES/storm/"[0-9]*/result | grep -v -e '^right ' -e '^eio ')" "a storm, $1: right bytes, or errors (SEED=$SEED)"
	note "$(cat "$CASES/storm/"[0-9]*/result | cut -d' ' -f1 | sort | uniq -c | xargs), $n_rules rules"
	ok "a storm, $1: and then all is right" wait_until 20 all_files
	ok "a storm, $1: umount" "$CLOAKFS" umount "$MNT"
}
storm s
storm c

for image in s c; do
	absent "$image: connections refused" $image 'fr gone listen off; fr gone drop' 'fr gone listen on'
	absent "$image: nobody accepts" $image 'fr gone listen deaf; fr gone drop' 'fr gone listen on'
	absent "$image: no name" $image 'names_are localhost registry.test; fr gone set redirect=1' \
		'names_are localhost registry.test blobs.test'
	fr gone set redirect=0
	absent "$image: no answer" $image 'fr gone fault stall=h:0 >/dev/null; fr gone drop' 'fr gone clear'
done

# ---- who is interrupted goes at once; so does the mount ----
waits() { # RULE
	[ "$(fr gone hits "$1")" -gt 0 ]
}
interrupted() { # IMAGE
	local from reader rule text="$1: interrupted"
	DIR=$CASES/$1
	MNT=$DIR/mnt
	fr gone clear
	mount_case "registry.test:${FR_PORT[gone]}/case/$1" $AWAY || fail "$text: a mount" "$(tail -n 1 "$DIR/mount")"
	rule=$(fr gone fault stall=0 path=/blobs/)
	start "$DIR/reader" cat "$MNT/noise/$FAR"
	reader=$!
	wait_until 20 waits "$rule" || fail "$text: it waits"
	from=$(date +%s%N)
	kill $reader
	ends_within 30 $reader "$text: a reader ends"
	ok "$text: so does a mount that still asks" "$CLOAKFS" umount "$MNT"
	wait_until 30 no_processes_here mount && pass "$text: and its process" || fail "$text: and its process" "$(processes_here mount)"
	from=$((($(date +%s%N) - from) / 1000000))
	[ $from -lt $((AWAY / 2)) ] && pass "$text: in time" || fail "$text: in time" "took $from ms"
}
interrupted s
interrupted c
finish
