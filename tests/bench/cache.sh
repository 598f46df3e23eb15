# cache.sh - blocks of the cache on the disk, beside a table of SQLite's.
#   MIB=1024
# shellcheck shell=bash
mkdir -p "$WORK/cache-bench"
"$BUILD/bench/cache" "$WORK/cache-bench" "${MIB:-1024}" "$ROUNDS" >"$WORK/cache.out" || exit 1
sed 's/^/  /' "$WORK/cache.out"
