#!/bin/bash
# run.sh - builds and runs every test; the last line is "N passed, N failed".
#
#   tests/run.sh               everything, as `make check` does after installing packages
#   tests/run.sh FILTER...     only programs whose name holds a FILTER: e2e/mount, unit, test_json
#
# Parts: unit (under ASan and UBSan), tsan (unit tests that use threads), valgrind, fuzz (a
# fixed number of seeded inputs, under ASan), e2e, and e2e-asan (one of them with a sanitized cloakfs).
# A program that crashes, runs too long or runs fewer tests than it planned counts as failed.
# Logs stay in build/test-logs.
set -u
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C

MAKE=${MAKE:-make}
CPUS=$(nproc)
JOBS=$((CPUS > 4 ? 4 : CPUS))
LOGS=$PWD/build/test-logs
FUZZ_RUNS=${FUZZ_RUNS:-20000}
FUZZ_SEED=${FUZZ_SEED:-1}
# One input of these takes as long as so many of others.
declare -A FUZZ_SLOW=([restart]=400)
# Parsers and keepers of secrets that make no RSA keys, which takes minutes there.
VALGRIND="test_base test_config test_envelope test_privopts test_cmdcall test_image test_stack test_cipher test_chunked test_tarscan test_tarheads test_unitcache test_artifact test_rewrite"
E2E_ASAN="negative erofs"
FILTERS=("$@")

export CMOCKA_MESSAGE_OUTPUT=TAP
export UBSAN_OPTIONS=print_stacktrace=1
export FUZZ_OUT=$LOGS

passed=0
failed=0
running=0 # beside each other
started=0 # and not yet counted

wanted() {
	local f
	[ ${#FILTERS[@]} -gt 0 ] || return 0
	for f in "${FILTERS[@]}"; do
		case $1 in *"$f"*) return 0 ;; esac
	done
	return 1
}

seconds_since() {
	awk -v from="$1" -v to="$(date +%s.%N)" 'BEGIN { printf "%.1f", to - from }'
}

# build WHAT MAKE-ARGS...: a failed build is a failed test, and nothing after it makes sense.
build() {
	local what=$1 from
	shift
	from=$(date +%s.%N)
	if ! "$MAKE" --no-print-directory -j "$JOBS" "$@" >"$LOGS/build.log" 2>&1; then
		grep -E -A5 ': (fatal )?error|undefined reference|multiple definition|No rule' "$LOGS/build.log" |
			cut -c1-300 | head -n 60
		echo "building $what failed; the whole log is $LOGS/build.log"
		failed=$((failed + 1))
		verdict
	fi
	printf '%-44s %6s s\n' "built $what" "$(seconds_since "$from")"
}

# One program, in a process of its own: leaves "PASSED FAILED" in its .result.
# run_one NAME LIMIT-SECONDS KIND COMMAND...; KIND "tap" counts TAP lines, "exit" the exit status.
run_one() {
	local name=$1 limit=$2 kind=$3 log from status took counts
	shift 3
	log=$LOGS/${name//\//-}
	from=$(date +%s.%N)
	timeout -k 10 "$limit" "$@" >"$log.log" 2>&1 </dev/null
	status=$?
	took=$(seconds_since "$from")
	if [ "$kind" = exit ]; then
		counts=$([ $status = 0 ] && echo 1 0 || echo 0 1)
	else
		counts=$(awk -v status=$status '
			/^ok /     { ok++ }
			/^not ok / { bad++ }
			/^1\.\.[0-9]+/ { plan += substr($1, 4); planned = 1 }
			END {
				if (plan > ok + bad) bad += plan - ok - bad
				if (!bad && (status != 0 || !planned || !ok)) bad = 1
				print ok + 0, bad + 0
			}' "$log.log")
	fi
	{
		printf '%-44s %6s s  %4d passed' "$name" "$took" "${counts% *}"
		[ "${counts#* }" = 0 ] || printf ', %d FAILED' "${counts#* }"
		[ $status != 124 ] || printf ' (ended after %s s)' "$limit"
		[ $status -le 128 ] || printf ' (signal %s)' $((status - 128))
		echo
		[ "${counts#* }" = 0 ] || sed 's/^/    | /' "$log.log" | tail -n 400
	} >"$log.report"
	cat "$log.report"
	echo "$counts" >"$log.result"
}

# run NAME ...: the same beside others, at most $JOBS at a time.
run() {
	wanted "$1" || return 0
	while [ $running -ge "$JOBS" ]; do
		wait -n
		running=$((running - 1))
	done
	run_one "$@" &
	running=$((running + 1))
	started=$((started + 1))
}

# Waits for the programs of a part and adds up.
part_done() {
	local r p f
	wait
	running=0
	for r in "$LOGS"/*.result; do
		[ -e "$r" ] || continue
		read -r p f <"$r"
		passed=$((passed + p))
		failed=$((failed + f))
		rm -f "$r"
		started=$((started - 1))
	done
	if [ $started -gt 0 ]; then
		echo "$started programs ended without a result"
		failed=$((failed + started))
		started=0
	fi
	echo "-- $1: $(seconds_since "$part_from") s"
}

part() {
	part_from=$(date +%s.%N)
}

verdict() {
	trap - EXIT
	[ $((passed + failed)) -gt 0 ] || echo "nothing ran"
	echo "$passed passed, $failed failed"
	[ $failed = 0 ] && [ $passed -gt 0 ]
	exit
}

any_wanted() {
	local n
	for n in "$@"; do
		! wanted "$n" || return 0
	done
	return 1
}

names() { # PREFIX FILE...: prefix/base names without suffix
	local prefix=$1 f
	shift
	for f in "$@"; do
		[ ! -e "$f" ] || { f=${f##*/} && echo "$prefix/${f%.*}"; }
	done
}

# End-to-end tests clean up after themselves when they are told to end.
# shellcheck disable=SC2317
stop() {
	trap - INT TERM
	for p in $(jobs -p); do
		pkill -TERM -P "$p" 2>/dev/null
	done
	wait
	exit 130
}
trap stop INT TERM

mkdir -p "$LOGS"
rm -f "$LOGS"/*.log "$LOGS"/*.report "$LOGS"/*.result "$LOGS"/crash-*
start=$(date +%s.%N)

mapfile -t unit < <(names unit tests/unit/test_*.c)
# shellcheck disable=SC2046
mapfile -t tsan < <(names tsan $(grep -lE 'pthread_create|thrd_create|runs under TSan' tests/unit/test_*.c 2>/dev/null))
mapfile -t valgrind < <(for t in $VALGRIND; do names valgrind "tests/unit/$t.c"; done)
mapfile -t fuzz < <(names fuzz tests/fuzz/fuzz_*.c)
mapfile -t e2e < <(names e2e tests/e2e/*.sh)
mapfile -t e2e_asan < <(for t in $E2E_ASAN; do names e2e-asan "tests/e2e/$t.sh"; done)

# Also for the unit test that shows its images to fsck.erofs.
if any_wanted "${e2e[@]}" "${e2e_asan[@]}" unit/test_erofs_mount; then
	part
	started=1
	run_one "setup/skopeo-1.18,erofs-utils-1.8" 300 exit tests/e2e/lib/trixie.sh build/trixie
	part_done "setting up"
fi

if any_wanted "${e2e[@]}" "${e2e_asan[@]}"; then
	build "cloakfs, azsim and the tests' tools" all e2e
fi

if any_wanted "${unit[@]}"; then
	part
	build "unit tests with ASan and UBSan" SAN=asan all unit
	for t in "${unit[@]}"; do
		run "$t" 120 tap "build/asan/$t"
	done
	part_done unit
fi

if any_wanted "${tsan[@]}"; then
	part
	build "threaded unit tests with TSan" SAN=tsan all "${tsan[@]/#tsan/build/tsan/unit}"
	for t in "${tsan[@]}"; do
		run "$t" 180 tap env TSAN_OPTIONS=halt_on_error=1 "build/tsan/unit/${t#tsan/}"
	done
	part_done tsan
fi

if any_wanted "${valgrind[@]}"; then
	part
	build "unit tests" all "${valgrind[@]/#valgrind/build/unit}"
	for t in "${valgrind[@]}"; do
		run "$t" 180 exit valgrind -q --error-exitcode=9 --leak-check=full \
			--errors-for-leak-kinds=definite "build/unit/${t#valgrind/}"
	done
	part_done valgrind
fi

if any_wanted "${fuzz[@]}"; then
	part
	build "fuzz targets with ASan and UBSan" SAN=asan fuzz-built
	for t in "${fuzz[@]}"; do
		corpus=(tests/fuzz/corpus/"${t#fuzz/fuzz_}")
		[ -d "${corpus[0]}" ] || corpus=()
		run "$t" 180 exit env ASAN_OPTIONS=hard_rss_limit_mb=2048 \
			"build/asan/$t" -n $((FUZZ_RUNS / ${FUZZ_SLOW[${t#fuzz/fuzz_}]:-1})) -s "$FUZZ_SEED" "${corpus[@]}"
	done
	part_done fuzz
fi

if any_wanted "${e2e[@]}"; then
	part
	JOBS=$((JOBS + 1)) # they wait for each other's processes a lot
	for t in "${e2e[@]}"; do
		run "$t" 300 tap bash "tests/$t.sh"
	done
	part_done e2e
fi

if any_wanted "${e2e_asan[@]}"; then
	part
	build "cloakfs and azsim with ASan and UBSan" SAN=asan all
	for t in "${e2e_asan[@]}"; do
		# Leaks cannot be looked for in a process that refuses to be traced.
		run "$t" 300 tap env BUILD=build/asan ASAN_OPTIONS=detect_leaks=0 bash "tests/e2e/${t#e2e-asan/}.sh"
	done
	part_done e2e-asan
fi

echo "-- in all: $(seconds_since "$start") s"
verdict
