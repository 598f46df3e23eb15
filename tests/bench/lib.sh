# lib.sh - what the benchmarks share. Sourced by tests/bench.sh before each of them.
# shellcheck shell=bash disable=SC2034

# A plain file, not $(...): a command that fails must end the run.
must() {
	"$@" >"$LOG" 2>&1 </dev/null || { echo "bench: failed: $*"; cat "$LOG"; exit 1; }
}

# seconds COMMAND...: how long it took.
seconds() {
	local from to
	from=$(date +%s.%N)
	must "$@"
	to=$(date +%s.%N)
	awk -v a="$from" -v b="$to" 'BEGIN { printf "%.3f\n", b - a }'
}

# stats FILE: "median (min .. max)".
stats() {
	sort -n "$1" | awk '{ v[NR] = $1 } END { printf "%8.3f  (%.3f .. %.3f)", v[int((NR + 1) / 2)], v[1], v[NR] }'
}

# versus TITLE A-TEXT A-FUNCTION B-TEXT B-FUNCTION: in turn, A B A B.
versus() {
	local i a b
	: >"$WORK/a"; : >"$WORK/b"; : >"$WORK/r"
	for i in $(seq "$ROUNDS"); do
		a=$(seconds "$3") || exit 1
		b=$(seconds "$5") || exit 1
		echo "$a" >>"$WORK/a"
		echo "$b" >>"$WORK/b"
		awk -v a="$a" -v b="$b" 'BEGIN { printf "%.3f\n", a / b }' >>"$WORK/r"
	done
	echo
	echo "$1"
	printf '  %-58s %s s\n' "$2" "$(stats "$WORK/a")" "$4" "$(stats "$WORK/b")"
	printf '  %-58s %s\n' "ratio, pair by pair" "$(stats "$WORK/r")"
}

# value NAME TEXT: what a program printed as NAME=value.
value() {
	sed -n "s/.*\b$1=\([0-9.]*\).*/\1/p" <<<"$2"
}

# cold: no page of any file is cached.
cold() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
}

# layer_of LAYOUT TAR FORM: an image of one layer.
layer_of() {
	layout_new "$1"
	layout_add "$1" "$2" "$3"
	layout_finish "$1" latest
}

mount_pid() { # MOUNTPOINT
	pgrep -f -- "cloakfs mount .* $1\$" | head -n 1
}

# cpu_of PID: seconds of CPU time used; rss_of PID: MiB resident.
cpu_of() {
	awk -v hz="$(getconf CLK_TCK)" '{ printf "%.2f\n", ($14 + $15) / hz }' "/proc/$1/stat"
}
rss_of() {
	awk '/^VmRSS/ { printf "%.0f\n", $2 / 1024 }' "/proc/$1/status"
}

mib() { # FILE: its size
	awk -v n="$(stat -c %s "$1")" 'BEGIN { printf "%.1f\n", n / 1048576 }'
}
