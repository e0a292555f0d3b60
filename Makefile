# Roost. `make help` lists the targets. One non-recursive makefile; sources are found by folder, so adding a .c needs no edit here.
#   BUILD=release|debug|asan   what to build (default release)
#   OUT=DIR                    where (default build/$(BUILD))

BUILD ?= release
OUT   ?= build/$(BUILD)
CC    ?= gcc
SEED    ?= 1
SECONDS ?= 60
CLANG   ?= clang
MINUTES ?= 10
VERSION := 0.1

# Fixed text buffers are cut on purpose (err, log), hence no format-truncation.
WARN   := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wno-unused-parameter -Wno-format-truncation
HARDEN := -O2 -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection -fcf-protection
FLAGS_release := $(HARDEN) -g -fPIE
FLAGS_debug   := -O1 -g3 -fPIE -DROOST_FAILPOINTS
FLAGS_asan    := -O1 -g3 -fPIE -DROOST_FAILPOINTS -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
LINK_release  := -pie -Wl,-z,relro,-z,now
LINK_debug    := -pie
LINK_asan     := -pie -fsanitize=address,undefined
WERROR := $(if $(CI),-Werror)

CPPBASE := -D_GNU_SOURCE -DROOST_VERSION='"$(VERSION)"' -I/usr/include/postgresql
CFLAGS  := -std=gnu17 $(WARN) $(WERROR) $(FLAGS_$(BUILD)) -MMD -MP
LIBINC  := -Ilib/base -Ilib/store -Ilib/bus -I$(OUT)/gen

# --- what is made of what: one row per binary -----------------------------------------------------------------------------------
BINS := roost-gateway roost-stream roost-worker roost-hands roost-init roost-vault roost-opener roost-egress roost-probe roostctl

SRC_roost-gateway := $(wildcard gateway/*.c gateway/api/*.c)
SRC_roost-stream  := $(wildcard gateway/stream/*.c) gateway/auth.c gateway/head.c gateway/refusal.c
SRC_roost-worker  := $(wildcard workers/harness/*.c workers/model/*.c)
SRC_roost-hands   := $(wildcard workers/sandbox/hands/*.c workers/sandbox/common/*.c)
SRC_roost-init    := $(wildcard workers/sandbox/init/*.c workers/sandbox/common/*.c)
SRC_roost-vault   := workers/vault/main.c
SRC_roost-opener  := $(wildcard workers/vault/opener/*.c)
SRC_roost-egress  := workers/egress/main.c
SRC_roost-probe   := $(wildcard workers/egress/probe/*.c)
SRC_roostctl      := $(wildcard ops/roostctl/*.c)

LIBS_roost-gateway := -lfcgi -lpq -lhiredis -ljansson -lsodium -lz -lpthread
LIBS_roost-stream  := -lfcgi -lpq -lhiredis -ljansson -lsodium -lpthread
LIBS_roost-worker  := -lpq -lhiredis -lcurl -ljansson -lsodium -lpthread
LIBS_roost-hands   := -lsodium -ljansson -lcap -lseccomp -lpthread
LIBS_roost-init    := -ljansson -lcap -lseccomp -lpthread
LIBS_roost-vault   := -ljansson
LIBS_roost-opener  := -lpq -ljansson -lsodium -lseccomp
LIBS_roost-egress  := -ljansson
LIBS_roost-probe   := -lcurl -ljansson -lsodium -lseccomp
LIBS_roostctl      := -lpq -lhiredis -ljansson -lsodium -lcap -lpthread

# Linked with lib/base alone: they cannot so much as name a table or a stream.
BASE_ONLY := roost-hands roost-init roost-vault roost-egress roost-probe

# Without libraries: inside the sandbox there are none, and a listener that starts others needs none (1 MB instead of 2).
STATIC := roost-init $(if $(filter asan,$(BUILD)),,roost-vault roost-egress)

# Headers a part may see: the dependency rule of the layout, enforced by the compiler.
INC_gateway := $(LIBINC) -Igateway -Igateway/api -Igateway/stream
INC_workers := $(LIBINC) -Iworkers/harness -Iworkers/model
INC_sandbox := -Ilib/base -Iworkers/sandbox/common -Iworkers/sandbox/hands -Iworkers/sandbox/init
INC_vault   := $(LIBINC) -Iworkers/vault/opener
INC_egress  := -Ilib/base -Iworkers/egress/probe
INC_ops     := $(LIBINC) -Iops/roostctl
INC_tests   := $(LIBINC) -Igateway -Igateway/api -Igateway/stream -Iworkers/harness -Iworkers/model -Iops/roostctl \
	-Iworkers/sandbox/common -Iworkers/sandbox/hands -Iworkers/sandbox/init -Iworkers/vault/opener -Iworkers/egress/probe -Itests/unit

BASE_SRC  := $(wildcard lib/base/*.c)
STORE_SRC := $(wildcard lib/store/*.c) $(wildcard lib/bus/*.c)
GEN       := $(OUT)/gen/stmts.h
PREVIOUS  := $(OUT)/gen/previous/stmts.h
objs = $(patsubst %.c,$(OUT)/obj/%.o,$(1))

all: $(addprefix $(OUT)/bin/,$(BINS)) ## build every program into $(OUT)/bin

define bin_rule
$$(OUT)/bin/$(1): $$(call objs,$$(SRC_$(1))) $(if $(filter $(BASE_ONLY),$(1)),$$(OUT)/libbase.a,$$(OUT)/libroost.a)
	@mkdir -p $$(@D)
	$$(CC) $(if $(filter $(STATIC),$(1)),-static,$$(LINK_$$(BUILD))) -o $$@ $$^ $$(LIBS_$(1))
endef
$(foreach b,$(filter-out $(if $(filter asan,$(BUILD)),roost-init),$(BINS)),$(eval $(call bin_rule,$(b))))

# Whole or not there, also when make is killed or another one runs beside it.
archive = @rm -f $@ $@.$$$$ && ar rcs $@.$$$$ $^ && mv -f $@.$$$$ $@
$(OUT)/libbase.a: $(call objs,$(BASE_SRC))
	$(archive)
$(OUT)/libroost.a: $(call objs,$(BASE_SRC) $(STORE_SRC))
	$(archive)

$(GEN): $(wildcard sql/stmts/*.sql) ops/gen/stmts.py
	@mkdir -p $(@D)
	python3 ops/gen/stmts.py $(OUT)/gen sql/stmts
# What the previous release calls, for tests/integ/upgrade.
$(PREVIOUS): $(wildcard tests/integ/upgrade/previous/stmts/*.sql) ops/gen/stmts.py
	@mkdir -p $(@D)
	python3 ops/gen/stmts.py $(OUT)/gen/previous tests/integ/upgrade/previous/stmts

# roost-init is static and runs inside the sandbox, where sanitizers cannot: it and its base objects are built without them.
ifeq ($(BUILD),asan)
$(OUT)/bin/roost-init: build/release/bin/roost-init
	@mkdir -p $(@D) && cp $< $@
build/release/bin/roost-init:
	$(MAKE) BUILD=release OUT=build/release $@
endif

part = $(firstword $(subst /, ,$(1)))
compile = @mkdir -p $(@D) && $(CC) $(CPPBASE) $(1) $(CFLAGS) -c -o $@ $<
$(OUT)/obj/lib/base/%.o: lib/base/%.c
	$(call compile,-Ilib/base)
$(OUT)/obj/lib/%.o: lib/%.c | $(GEN)
	$(call compile,$(LIBINC))
$(OUT)/obj/gateway/%.o: gateway/%.c | $(GEN)
	$(call compile,$(INC_gateway))
$(OUT)/obj/workers/sandbox/%.o: workers/sandbox/%.c
	$(call compile,$(INC_sandbox))
$(OUT)/obj/workers/vault/%.o: workers/vault/%.c | $(GEN)
	$(call compile,$(INC_vault))
$(OUT)/obj/workers/egress/%.o: workers/egress/%.c
	$(call compile,$(INC_egress))
$(OUT)/obj/workers/%.o: workers/%.c | $(GEN)
	$(call compile,$(INC_workers))
$(OUT)/obj/ops/%.o: ops/%.c | $(GEN)
	$(call compile,$(INC_ops))
$(OUT)/obj/tests/%.o: tests/%.c | $(GEN) $(PREVIOUS)
	$(call compile,$(INC_tests))

# --- tests ---------------------------------------------------------------------------------------------------------------------
# A test program is linked with the library and what its first line names: /* link: gateway/router.c workers/model/sse.c */
# tests/unit/test_x.c -> $(OUT)/tests/test_x     tests/integ/stream/bus.c -> $(OUT)/integ/stream/bus
TEST_LIBS := -lcmocka -lpq -lhiredis -lcurl -ljansson -lsodium -lfcgi -lcap -lseccomp -lz -lpthread
UNIT  := $(patsubst tests/unit/%.c,$(OUT)/tests/%,$(wildcard tests/unit/test_*.c))
INTEG := $(patsubst tests/integ/%.c,$(OUT)/integ/%,$(wildcard tests/integ/*/*.c))
unit: $(UNIT) ## build the unit tests into $(OUT)/tests
integ: $(INTEG) ## build the integration tests' programs into $(OUT)/integ
# tests/fuzz/x.c -> build/fuzz/x, everything in it compiled for the fuzzer.
build/fuzz/%: tests/fuzz/%.c $(BASE_SRC) | $(GEN)
	@mkdir -p $(@D)
	$(CLANG) $(CPPBASE) $(INC_tests) -std=gnu17 -g -O1 -fno-omit-frame-pointer -fsanitize=fuzzer,address,undefined \
		-fno-sanitize-recover=undefined -o $@ $< $(call linked,$<) $(BASE_SRC) $(TEST_LIBS)
linked = $(filter %.c,$(shell sed -n '1s:.*link\::: p' $(1)))
define test_rule
$(2): $$(OUT)/obj/$(1:.c=.o) $$(call objs,$(call linked,$(1))) $$(OUT)/libroost.a
	@mkdir -p $$(@D)
	$$(CC) $$(LINK_$$(BUILD)) -o $$@ $$^ $$(TEST_LIBS)
endef
$(foreach t,$(UNIT),$(eval $(call test_rule,$(patsubst $(OUT)/tests/%,tests/unit/%.c,$(t)),$(t))))
$(foreach t,$(INTEG),$(eval $(call test_rule,$(patsubst $(OUT)/integ/%,tests/integ/%.c,$(t)),$(t))))

test: ## everything that CI runs: unit, sandbox, integration, end to end; installs what it needs
	tests/run
asan: ## unit and integration suites under AddressSanitizer and UBSan
	tests/run --asan
lint: ## clang-tidy, cppcheck, shellcheck, nginx -t, layer and header checks
	tests/lint
conformance: ## what of the contract the end-to-end tests have seen, all validated against the SDK's own types
	tests/conformance/run
fuzz: ## libFuzzer on every decoder of untrusted bytes: make fuzz SECONDS=600 (build/fuzz/)
	tests/fuzz/run $(SECONDS)
soak: ## random faults under random load: make soak SEED=1 MINUTES=10
	SEED=$(SEED) MINUTES=$(MINUTES) tests/chaos/soak
bench: ## measure and print the table of ratios (bench/results/)
	tests/bench/run

bench-sse: ## measure 9,500 event streams beside a Node server (bench/results/)
	tests/bench/sse/run

# --- running -------------------------------------------------------------------------------------------------------------------
up: ## set up and start everything on this machine, or upgrade what runs; then run the demo (root or sudo)
	ops/up
rollback: ## back to the programs that ran before the last `make up` that changed one
	ops/rollback
down: ## stop everything that `make up` started
	ops/down
restart: ## replace every running process, one after the other, under whatever load there is
	ops/restart
demo: ## run the demo against the running instance
	ops/demo

clean: ## remove build products (not the instance's data)
	rm -rf build

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

.PHONY: all fuzz unit integ test conformance soak asan lint bench bench-sse up rollback down restart demo clean help
.DEFAULT_GOAL := all
-include $(shell find $(OUT)/obj -name '*.d' 2>/dev/null)
