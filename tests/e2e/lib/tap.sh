# tap.sh - what every end-to-end test stands on. Sourced first.
#
# Results go to stdout as TAP ("ok 1 - text", "1..N" at the end); what a failure expected and saw
# follows it as "# ..." lines. Everything happens in $WORK, a throw-away directory; at the end,
# however it comes, only processes and mounts that this test made are ended.
#   KEEP=1   keeps $WORK    BUILD=DIR   tests the programs in DIR
# shellcheck shell=bash

set -u
export LC_ALL=C

SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
BUILD=$(realpath "${BUILD:-$SRC/build}")
CLOAKFS=$BUILD/cloakfs
AZSIM=$BUILD/azsim
E2E=$(realpath -m "${E2E:-$SRC/build/e2e}")
TRIXIE=${TRIXIE:-$SRC/build/trixie}
SKOPEO=$TRIXIE/bin/skopeo
LIB=$SRC/tests/e2e/lib
NAME=$(basename "$0" .sh)

WORK=$(mktemp -d "${TMPDIR:-/tmp}/cloakfs-$NAME.XXXXXX")
LOG=$WORK/log # of the last command run by a check
chmod 755 "$WORK"
N_TESTS=0
N_FAILED=0
PIDS=
unset CLOAKFS_CONFIG OCICRYPT_KEYPROVIDER_CONFIG

# ---- cleaning up ------------------------------------------------------------------------------

mounts_here() {
	awk -v w="$WORK/" 'index($2, w) == 1 { print $2 }' /proc/self/mounts
}

is_mounted() {
	awk -v d="$1" '$2 == d { found = 1 } END { exit !found }' /proc/self/mounts
}

# processes_here [WORD]: cloakfs and azsim processes of this test, known by $WORK in their
# arguments; with WORD ("mount") only those that have it among them.
processes_here() {
	local p
	for p in $(pgrep -f -- "$WORK/"); do
		case $(readlink "/proc/$p/exe" 2>/dev/null) in
		"$CLOAKFS" | "$AZSIM") ;;
		*) continue ;;
		esac
		[ -z "${1:-}" ] || tr '\0' '\n' <"/proc/$p/cmdline" 2>/dev/null | grep -qx -- "$1" || continue
		echo "$p"
	done
}

# is_child PID: a number of a process that ended long ago may be somebody else's by now.
is_child() {
	[ "$(awk '/^PPid:/ { print $2 }' "/proc/$1/status" 2>/dev/null)" = $$ ]
}

cleanup() {
	local status=$? p m
	# A child that was told to end before it became what it was started for has this trap, too.
	[ "$BASHPID" = $$ ] || exit "$status"
	trap - EXIT INT TERM HUP
	cd /
	for m in $(mounts_here | sort -r); do
		umount -l "$m" 2>/dev/null
	done
	for p in $PIDS; do
		! is_child "$p" || kill "$p" 2>/dev/null
	done
	for p in $(processes_here); do
		kill "$p" 2>/dev/null
	done
	for p in $PIDS; do
		wait "$p" 2>/dev/null
	done
	wait_until 5 no_processes_here || for p in $(processes_here); do kill -9 "$p" 2>/dev/null; done
	for m in $(mounts_here | sort -r); do
		umount -l "$m" 2>/dev/null
	done
	if [ -n "${KEEP:-}" ]; then
		echo "# kept $WORK"
	else
		rm -rf --one-file-system "$WORK"
	fi
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---- results ----------------------------------------------------------------------------------

note() {
	printf '%s\n' "$@" | sed 's/^/# /'
}

# note_file TEXT FILE: what a file holds, cut short.
note_file() {
	note "$1:"
	head -c 3000 "$2" 2>/dev/null | tr -d '\0' | head -n 30 | sed 's/^/#   /'
}

pass() {
	N_TESTS=$((N_TESTS + 1))
	echo "ok $N_TESTS - $1"
}

# fail TEXT [DETAIL]...
fail() {
	N_TESTS=$((N_TESTS + 1))
	N_FAILED=$((N_FAILED + 1))
	echo "not ok $N_TESTS - $1"
	shift
	[ $# = 0 ] || note "$@"
	return 0
}

finish() {
	echo "1..$N_TESTS"
	[ "$N_FAILED" = 0 ] || note "to repeat: tests/run.sh e2e/$NAME (KEEP=1 keeps the directory)"
	[ "$N_FAILED" = 0 ]
	exit
}

# Something the rest of the test needs did not happen: says so and ends the test.
bail() {
	fail "$@"
	finish
}

# ---- checks -----------------------------------------------------------------------------------

# ok TEXT COMMAND...: the command succeeds.
ok() {
	local text=$1 status
	shift
	"$@" >"$LOG" 2>&1 </dev/null
	status=$?
	if [ $status = 0 ]; then
		pass "$text"
		return 0
	fi
	fail "$text" "expected success, got exit status $status of: $*"
	note_file "it wrote" "$LOG"
	return 1
}

# is EXPECTED GOT TEXT
is() {
	if [ "$1" = "$2" ]; then
		pass "$3"
		return 0
	fi
	fail "$3" "expected: $1" "     got: $2"
	return 1
}

# matches REGEX GOT TEXT: an extended regular expression, in any line.
matches() {
	if printf '%s\n' "$2" | grep -qE -- "$1"; then
		pass "$3"
		return 0
	fi
	fail "$3" "expected to match: $1" "$(printf '%s\n' "$2" | head -n 20 | sed 's/^/got: /')"
	return 1
}

# same FILE-EXPECTED FILE-GOT TEXT
same() {
	if cmp -s "$1" "$2"; then
		pass "$3"
		return 0
	fi
	if [ ! -e "$1" ] || [ ! -e "$2" ]; then
		fail "$3" "no such file among $1 and $2"
	elif grep -qIm1 . "$1" && grep -qIm1 . "$2"; then
		fail "$3" "- expected, + got:"
		diff -U0 "$1" "$2" | tail -n +3 | cut -c1-400 | head -n 30 | sed 's/^/#   /'
	else
		fail "$3" "$(cmp "$1" "$2" 2>&1)"
	fi
	return 1
}

# fails_with REGEX TEXT COMMAND...: exit status 1 within a minute, nothing on stdout, and one
# line on stderr (notes apart) that matches.
fails_with() {
	local want=$1 text=$2 status
	shift 2
	timeout -k 5 "${FAIL_WITHIN:-60}" "$@" >"$WORK/out" 2>"$LOG" </dev/null
	status=$?
	if [ $status = 124 ] || [ $status = 137 ]; then
		fail "$text" "expected an error, but it ran longer than ${FAIL_WITHIN:-60} s: $*"
	elif [ $status = 0 ]; then
		fail "$text" "expected an error, but it succeeded: $*"
	elif [ $status != 1 ]; then
		fail "$text" "expected exit status 1, got $status: $*"
		note_file "it wrote" "$LOG"
	elif [ -s "$WORK/out" ]; then
		fail "$text" "expected nothing on stdout, got $(stat -c %s "$WORK/out") bytes: $*"
	elif ! grep -qE -- "$want" "$LOG"; then
		fail "$text" "expected an error that matches: $want"
		note_file "it wrote" "$LOG"
	elif [ "$(grep -vc -e 'note: ' -e 'x-ms-request-id' "$LOG")" != 1 ]; then
		fail "$text" "expected one line of error"
		note_file "it wrote" "$LOG"
	else
		pass "$text"
		return 0
	fi
	return 1
}

no_processes_here() {
	[ -z "$(processes_here "$@")" ]
}

# wait_until SECONDS COMMAND...: polls until the command succeeds; 1 when it never does.
wait_until() {
	local deadline=$(($(date +%s%N) + $1 * 1000000000))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s%N)" -lt $deadline ] || return 1
		sleep 0.05
	done
}

# start FILE COMMAND...: runs a command in the background, its output to FILE; $! is its pid.
start() {
	local file=$1
	shift
	"$@" >"$file" 2>&1 </dev/null &
	PIDS="$PIDS $!"
}

ended() {
	! kill -0 "$1" 2>/dev/null
}

# ends_within SECONDS PID TEXT
ends_within() {
	if wait_until "$1" ended "$2"; then
		pass "$3"
	else
		fail "$3" "process $2 still runs after $1 s: $(tr '\0' ' ' <"/proc/$2/cmdline" 2>/dev/null)"
	fi
}

if [ "$(id -u)" != 0 ] || [ ! -c /dev/fuse ]; then
	bail "end-to-end tests need root and /dev/fuse"
fi

# shellcheck source=tests/e2e/lib/layout.sh
. "$LIB/layout.sh"
# shellcheck source=tests/e2e/lib/images.sh
. "$LIB/images.sh"
# shellcheck source=tests/e2e/lib/azure.sh
. "$LIB/azure.sh"
