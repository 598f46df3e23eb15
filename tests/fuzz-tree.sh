#!/bin/bash
# fuzz-tree.sh - mounts random stacks of layers, one after the other, and compares each with the
# tree of a model (tests/e2e/lib/treegen.c): until interrupted, or until one differs. `make
# fuzz-tree` builds what it needs first.
#
# SEED: the first one (the time); the next is one more. BUILD=build/asan: the sanitized cloakfs.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/e2e/lib/tap.sh"
# shellcheck source=tests/e2e/lib/treeseed.sh
. "$LIB/treeseed.sh"

SEED=${SEED:-$(date +%s)}
tree_prepare
echo "from seed $SEED"
for ((n = 0; ; n++, SEED++)); do
	if ! said=$(tree_seed "$SEED"); then
		printf 'seed %s, after %d that were the same:\n%s\n' "$SEED" "$n" "$said"
		exit 1
	fi
	[ $((n % 100)) != 99 ] || echo "$((n + 1)) seeds, the last one $SEED"
done
