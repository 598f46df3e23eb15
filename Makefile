# cloakfs: make | check | demo | bench | install | deps | format | lint
#
#   make                build/cloakfs and build/azsim
#   make SAN=asan       the same under ASan and UBSan, in build/asan (also SAN=tsan)
#   make check          install what is needed, build, run every test
#   make demo           install what is needed, build, run the main job on real input
#   make fuzz           fuzz every parser in turn, until interrupted or one crashes
#   make fuzz-tree      mount random layers and compare the trees with a model's, likewise (SEED=1
#                       for the first one)
#   make soak           readers of a mount for ten minutes in each mode, under TSan
#   make bench          measure against named yardsticks
#   make install        into $(DESTDIR)$(PREFIX)

VERSION := 0.1.0
SAN     ?=
BUILD   ?= build$(if $(SAN),/$(SAN))
PREFIX  ?= /usr/local
CC      ?= gcc

PACKAGES := fuse3 libarchive libisal libzstd libcurl jansson libcrypto libssl libnghttp2 \
	    libprotobuf-c zlib
ROOMS    := base attest keyprov tar fs

WARN     := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
OPT      := -O2 -g -fstack-protector-strong -D_FORTIFY_SOURCE=2
SAN_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
SAN_tsan := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
CFLAGS   ?=
CPPFLAGS += -D_GNU_SOURCE -DFUSE_USE_VERSION=314 -DCK_VERSION='"$(VERSION)"' -I. -I$(BUILD)/gen
# -isystem: the libraries' own headers need not meet our warnings.
CPPFLAGS += $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(PACKAGES) libmicrohttpd cmocka 2>/dev/null))
ALL_C    := -std=c17 -pthread -fPIE $(WARN) $(if $(SAN),$(SAN_$(SAN)),$(OPT)) -MMD -MP $(CPPFLAGS) $(CFLAGS)
LDFLAGS  += -pthread -pie -Wl,-z,relro,-z,now $(if $(SAN),$(SAN_$(SAN)))
# ipsec-mb has no pkg-config file, and is for x86-64 alone.
LIBS      = $(shell pkg-config --libs $(PACKAGES)) $(if $(filter x86_64,$(shell uname -m)),-lIPSec_MB)

PROTO    := $(BUILD)/gen/keyprov/keyprovider.pb-c
LIB_SRC  := $(wildcard $(foreach r,$(ROOMS),$(r)/*.c $(r)/*/*.c))
LIB_OBJ  := $(LIB_SRC:%.c=$(BUILD)/%.o) $(if $(wildcard keyprov/keyprovider.proto),$(PROTO).o)
LIB      := $(BUILD)/libcloakfs.a
objs      = $(patsubst %.c,$(BUILD)/%.o,$(wildcard $(1)/*.c))
UNIT     := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
FUZZ     := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
E2E      := $(patsubst tests/e2e/lib/%.c,$(BUILD)/e2e/%,$(wildcard tests/e2e/lib/*.c))
BENCH    := $(patsubst tools/bench/%.c,$(BUILD)/bench/%,$(wildcard tools/bench/*.c))

# One short line for each file; make V=1 shows the commands.
V ?=
ifeq ($(V),)
say = @printf '  %-5s %s\n' $(1) $@;
else
say =
endif

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all check check-built soak demo bench install deps format lint unit fuzz fuzz-built \
	fuzz-tree e2e clean
all: $(BUILD)/cloakfs $(BUILD)/azsim

$(BUILD)/cloakfs: $(call objs,tools/cloakfs) $(LIB)
	$(call say,LINK)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/azsim: $(call objs,tools/azsim) $(LIB)
	$(call say,LINK)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS) $$(pkg-config --libs libmicrohttpd)

$(LIB): $(LIB_OBJ)
	@rm -f $@
	$(call say,AR)$(AR) rcs $@ $^

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(ALL_C) -c -o $@ $<

$(PROTO).c $(PROTO).h &: keyprov/keyprovider.proto
	@mkdir -p $(@D)
	$(call say,PROTO)protoc-c -Ikeyprov --c_out=$(@D) $<

$(PROTO).o: $(PROTO).c
	$(call say,CC)$(CC) $(ALL_C) -Wno-conversion -Wno-shadow -c -o $@ $<

$(patsubst %.c,$(BUILD)/%.o,$(wildcard keyprov/*.c)): | $(if $(wildcard keyprov/keyprovider.proto),$(PROTO).h)

unit: $(UNIT)
fuzz-built: $(FUZZ)
e2e: $(E2E) $(BUILD)/fault/registry

# What tests share. An archive: a test that stands in for a room (fake_attest.h) must not
# get a helper that needs the real one.
UNIT_LIB := $(BUILD)/tests/unit/lib.a
$(UNIT_LIB): $(call objs,tests/unit/lib)
	@rm -f $@
	$(call say,AR)$(AR) rcs $@ $^

$(BUILD)/unit/%: $(BUILD)/tests/unit/%.o $(UNIT_LIB) $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(UNIT_LIB) $(LIB) $(LIBS) -lcmocka

# The parts of the program that unit tests link.
$(BUILD)/unit/test_config: $(BUILD)/tools/cloakfs/config.o
$(BUILD)/unit/test_bar: $(BUILD)/tools/cloakfs/bar.o

# They play the registry themselves: not in the archive, which other tests would get it from.
$(patsubst %,$(BUILD)/unit/test_%,remote remote_hard background): $(BUILD)/tests/unit/played/played.o

# They run the local Azure.
$(patsubst %,$(BUILD)/unit/test_attest_%,azsim faults hsmfaults): | $(BUILD)/azsim

# A narrower pattern than the one above: tests of azsim's own parts.
$(BUILD)/unit/test_azsim_%: $(BUILD)/tests/unit/test_azsim_%.o \
			   $(filter-out %/main.o $(BUILD)/tools/azsim/cmd_%.o,$(call objs,tools/azsim)) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS) $$(pkg-config --libs libmicrohttpd) -lcmocka

$(BUILD)/fuzz/%: $(BUILD)/tests/fuzz/%.o $(call objs,tests/fuzz/lib) $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# The end-to-end tests' own tools: nothing of ours is in them.
E2E_LIBS_hangfs = $$(pkg-config --libs fuse3)
$(BUILD)/e2e/%: $(BUILD)/tests/e2e/lib/%.o
	@mkdir -p $(@D)
	$(call say,LINK)$(CC) $(LDFLAGS) -o $@ $^ -lcrypto -lzstd $(E2E_LIBS_$(@F))

$(BUILD)/e2e/treegen: $(call objs,tests/e2e/lib/treegen)
$(BUILD)/e2e/treedump: $(call objs,tests/e2e/lib/treedump)

# Likewise the registry that goes wrong.
$(BUILD)/fault/registry: $(call objs,tests/fault)
	@mkdir -p $(@D)
	$(call say,LINK)$(CC) $(LDFLAGS) -o $@ $^ $$(pkg-config --libs libssl libcrypto jansson zlib)

BENCH_LIBS_cache = -lsqlite3
$(BUILD)/bench/%: $(BUILD)/tools/bench/%.o $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS) $(BENCH_LIBS_$(@F))

# The packages are installed first, in a make of its own: pkg-config is asked when
# a makefile is read.
deps:
	@tests/deps.sh

check: deps
	@$(MAKE) --no-print-directory check-built

check-built:
	@tests/run.sh

soak: deps
	@$(MAKE) --no-print-directory SAN=tsan all
	@$(MAKE) --no-print-directory e2e
	@BUILD=build/tsan tests/soak.sh

fuzz: deps
	@$(MAKE) --no-print-directory SAN=asan fuzz-built
	@tests/fuzz.sh

fuzz-tree: deps
	@$(MAKE) --no-print-directory all e2e
	@SEED=$(SEED) tests/fuzz-tree.sh

demo: deps
	@$(MAKE) --no-print-directory all
	@tests/demo.sh

bench:
	@tests/deps.sh bench
	@$(MAKE) --no-print-directory all e2e bench-built

bench-built: $(BENCH)
	@tests/bench.sh

install: all
	install -D -m 755 $(BUILD)/cloakfs $(DESTDIR)$(PREFIX)/bin/cloakfs
	install -D -m 644 tools/cloakfs/cloakfs.8 $(DESTDIR)$(PREFIX)/share/man/man8/cloakfs.8

SOURCES = $(shell git ls-files '*.c' '*.h')

format:
	clang-format -i $(SOURCES)

lint: $(PROTO).h
	clang-format --dry-run -Werror $(SOURCES)
	clang-tidy --quiet $(filter %.c,$(filter-out tests/%,$(SOURCES))) -- -std=c17 $(CPPFLAGS)

clean:
	rm -rf build

-include $(shell find $(BUILD) -path $(BUILD)/trixie -prune -o -type f -name '*.d' -print 2>/dev/null)
