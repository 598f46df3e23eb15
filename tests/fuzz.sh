#!/bin/bash
# fuzz.sh - runs every fuzz target in turn, in rounds without end: until interrupted, or until
# one crashes. `make fuzz` builds them first.
#
#   tests/fuzz.sh              all of them
#   tests/fuzz.sh FILTER...    only those whose name holds a FILTER: decoder, gzip
#
# FUZZ_SECONDS: for each target and round (60). FUZZ_SEED: of the first round (the time); the
# next one's is one more. An input that crashed is kept in build/fuzz and named.
set -u
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C

SECONDS_EACH=${FUZZ_SECONDS:-60}
SEED=${FUZZ_SEED:-$(date +%s)}
export FUZZ_OUT=$PWD/build/fuzz
export ASAN_OPTIONS=hard_rss_limit_mb=2048
export UBSAN_OPTIONS=print_stacktrace=1
[ $# -gt 0 ] || set -- ""

targets=()
for f in tests/fuzz/fuzz_*.c; do
	name=${f##*/fuzz_}
	for filter in "$@"; do
		case ${name%.c} in *"$filter"*) targets+=("${name%.c}") && break ;; esac
	done
done
[ ${#targets[@]} -gt 0 ] || { echo "no such fuzz target" >&2 && exit 2; }
mkdir -p "$FUZZ_OUT"
running=
trap '[ -z "$running" ] || kill "$running"; echo; echo "interrupted in round $round"; exit 130' INT TERM

for ((round = 1; ; round++, SEED++)); do
	for t in "${targets[@]}"; do
		corpus=(tests/fuzz/corpus/"$t")
		[ -d "${corpus[0]}" ] || corpus=()
		printf 'round %d  %-12s ' "$round" "$t"
		log=$FUZZ_OUT/$t.log
		"build/asan/fuzz/fuzz_$t" -T "$SECONDS_EACH" -s "$SEED" "${corpus[@]}" 2>"$log" &
		running=$!
		if ! wait "$running"; then
			echo "crashed, seed $SEED"
			tail -n 60 "$log"
			exit 1
		fi
		running=
	done
done
