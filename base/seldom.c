#include "base/seldom.h"

bool ck_seldom_said(struct ck_seldom *s, uint64_t what, uint64_t now_ms, uint64_t every_ms)
{
	uint64_t mixed = (what + 1) * UINT64_C(0x9e3779b97f4a7c15);
	uint64_t slot = (mixed ^ mixed >> 32) % CK_SELDOM_SLOTS;
	bool same = atomic_exchange(&s->what[slot], mixed) == mixed;

	if (same && now_ms - atomic_load(&s->ms[slot]) < every_ms)
		return true;
	atomic_store(&s->ms[slot], now_ms);
	return false;
}
