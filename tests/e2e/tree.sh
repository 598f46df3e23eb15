#!/bin/bash
# The mounted tree against a model that shares no code with cloakfs: random stacks of layers in
# both modes, and the model itself against GNU tar; before them small cases written by hand.
# `make fuzz-tree` goes on without end.
#   SEEDS="1 2 3"   only these
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"
# shellcheck source=tests/e2e/lib/treeseed.sh
. "$LIB/treeseed.sh"

tree_prepare

if [ -z "${SEEDS:-}" ]; then
	# shellcheck source=tests/e2e/lib/treecases.sh
	. "$LIB/treecases.sh"
	cases_run
	cases_refused
fi

for seed in ${SEEDS:-$(seq 40)}; do
	if said=$(tree_seed "$seed"); then
		pass "seed $seed ($(wc -l <"$WORK/seed/want.dump") files)"
	else
		fail "seed $seed" "$said"
		is_mounted "$WORK/mnt" && bail "unmounting"
	fi
done

finish
