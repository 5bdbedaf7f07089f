# seqd: make run | test | test-web | bench | lint | format | san | tsan | docker | install | clean | help
# Objects live in build/$(FLAVOUR); a flavour is a set of flags (release, san, tsan).

VERSION  := 0.1.0
CC       ?= cc
FLAVOUR  ?= release
PREFIX   ?= /usr/local
B        := build/$(FLAVOUR)
JOBS     := $(shell nproc)
WERROR   ?= $(if $(CI),-Werror)
# Any flavour of libcurl will do; they exclude each other.
CURL_PACKAGE := $(if $(shell pkg-config --exists libcurl 2>/dev/null && echo yes),,libcurl4-gnutls-dev)
PACKAGES := libmicrohttpd-dev libjansson-dev libopenblas-pthread-dev libpcre2-dev \
            libutf8proc-dev libgnutls28-dev zlib1g-dev $(CURL_PACKAGE) check pkg-config gcc libc6-dev make curl

CPPFLAGS := -D_GNU_SOURCE -I. -I$(B) -DSEQD_VERSION='"$(VERSION)"'
CFLAGS   ?= -O2 -g
override CFLAGS += -std=c11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes $(WERROR) \
            -march=x86-64-v2 -fno-math-errno -ffp-contract=off -fstack-protector-strong -MMD -MP
SAN_release :=
SAN_san     := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
SAN_tsan    := -fsanitize=thread -fno-omit-frame-pointer
override CFLAGS += $(SAN_$(FLAVOUR))
override LDFLAGS += $(SAN_$(FLAVOUR)) -Wl,-z,relro,-z,now,--as-needed

LIBS_MODEL  := $(shell pkg-config --libs jansson libpcre2-8 libutf8proc 2>/dev/null) -lm -ldl -pthread
LIBS_SERVER := $(shell pkg-config --libs libmicrohttpd zlib 2>/dev/null)
LIBS_PULL   := $(shell pkg-config --libs libcurl gnutls jansson 2>/dev/null)
LIBS_HASH   := $(shell pkg-config --libs gnutls 2>/dev/null)
# OpenBLAS is loaded when it is asked for; only the benches call it by name.
LIBS_BENCH  := $(shell pkg-config --libs openblas 2>/dev/null)
LIBS_TEST   := $(shell pkg-config --libs check 2>/dev/null)

MODEL_SRC  := $(wildcard model/*.c model/*/*.c)
# `seqd pull` is a program of its own, because libcurl brings some 30 shared libraries.
PULL_SRC   := $(addprefix server/hub/,main.c pull.c blob.c files.c transfer.c digest.c progress.c)
SERVER_SRC := $(filter-out $(PULL_SRC),$(wildcard server/*.c server/*/*.c))
UNIT_SRC   := $(wildcard tests/unit/test_*.c tests/golden/test_*.c)
HTTP_SRC   := $(wildcard tests/http/test_*.c)
HTTP_LIB   := $(filter-out $(HTTP_SRC),$(wildcard tests/http/*.c))
MODEL_OBJ  := $(MODEL_SRC:%.c=$B/%.o)
SERVER_OBJ := $(SERVER_SRC:%.c=$B/%.o)
PULL_OBJ   := $(PULL_SRC:%.c=$B/%.o) $(addprefix $B/server/hub/,repo.o settings.o cache.o) $B/server/buf.o
TESTS      := $(UNIT_SRC:%.c=$B/%) $(HTTP_SRC:%.c=$B/%) tests/http/readme.sh

.PHONY: all run test test-web bench lint fuzz format san tsan docker install clean help packages tests evaluate parity test-real
.DELETE_ON_ERROR:
.SECONDARY:

all: $B/seqd $B/seqd-pull

help:
	@echo 'make            build build/release/seqd'
	@echo 'make run        install what is missing, build, serve the shipped models (ARGS=... for seqd)'
	@echo 'make test       unit, golden and HTTP tests'
	@echo 'make test-web   the page in Chromium (installs Chromium, Node and two npm packages)'
	@echo 'make san tsan   the tests under ASan+UBSan; the threaded ones under TSan'
	@echo 'make parity     the tokenizers against the reference library (opt-in: needs Python and the network)'
	@echo 'make test-real  real weights against transformers (opt-in: needs Python and the network)'
	@echo 'make lint       layers, style and static checks'
	@echo 'make fuzz       each parser for FUZZ_SECONDS=$(FUZZ_SECONDS) under libFuzzer'
	@echo 'make bench      seqd beside ONNX Runtime, PyTorch and Node; kernels beside OpenBLAS (BENCH=quick: some of it)'
	@echo 'make format     clang-format in place'
	@echo 'make docker     the container image (docker, or buildah where there is no engine)'
	@echo 'make install    into PREFIX=$(PREFIX), DESTDIR is respected'
	@echo 'make clean      removes build/ and all in it'

# Debian packages; a no-op of a few milliseconds once they are there.
packages:
	@sh tests/lint/packages.sh $(PACKAGES)

run: packages
	@$(MAKE) -s -j$(JOBS) all
	$B/seqd $(ARGS)

# ---- building ----------------------------------------------------------------------
$B/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$B/model/kernels/kern_ref.o: override CFLAGS += -O3
# Lets gcc turn a choice between two floats into a mask; changes no value.
$B/model/kernels/kern_portable.o: override CFLAGS += -O3 -fno-trapping-math
$B/model/kernels/kern_avx2%: override CFLAGS += -O3 -mavx2 -mfma
$B/model/kernels/kern_avx512%: override CFLAGS += -O3 -mavx512f -mavx512vl -mavx512bw -mavx512dq -mavx2 -mfma
$B/model/kernels/kern_avx512_int8.o: override CFLAGS += -mavx512vnni

# Files that the assembler reads, which writes no dependencies.
$B/server/web/embed.o: $(wildcard server/web/*.html server/web/*.css server/web/*.js)
$B/server/api/examples.o: $(wildcard server/api/examples/*.json)

$B/libseq.a: $(MODEL_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$B/seqd: $(SERVER_OBJ) $B/libseq.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS_SERVER) $(LIBS_MODEL)

$B/seqd-pull: $(PULL_OBJ) $B/libseq.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS_PULL)

$B/tests/unit/%: $B/tests/unit/%.o $B/libseq.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS_TEST) $(LIBS_MODEL)

# Unit tests of server/ files link them without main.
$B/tests/unit/test_server_%: $B/tests/unit/test_server_%.o $(filter-out $B/server/main.o,$(SERVER_OBJ)) $B/libseq.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS_TEST) $(LIBS_SERVER) $(LIBS_MODEL)

$B/tests/golden/%: $B/tests/golden/%.o $B/libseq.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS_TEST) $(LIBS_MODEL)

$B/tests/http/%: $B/tests/http/%.o $(HTTP_LIB:%.c=$B/%.o) $B/libseq.a $B/seqd $B/seqd-pull
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter-out $B/seqd $B/seqd-pull,$^) $(LIBS_TEST) $(LIBS_SERVER) $(LIBS_MODEL) $(LIBS_HASH)

$B/tests/real/%: $B/tests/real/%.o $B/libseq.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS_MODEL)

$B/tests/bench/%: $B/tests/bench/%.o $B/libseq.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS_BENCH) $(LIBS_MODEL)

$B/weights/training/evaluate: $B/weights/training/evaluate.o $B/libseq.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS_MODEL)

# ---- checking -----------------------------------------------------------------------
tests: $(TESTS) $B/seqd $B/seqd-pull

# Every test program prints libcheck's line; run.sh adds them up.
test: packages
	@$(MAKE) -s -j$(JOBS) tests
	@sh tests/run.sh $B $(TESTS)

# The page in a browser; build/web keeps screenshots and figures.
test-web: packages
	@$(MAKE) -s -j$(JOBS) $B/seqd
	@sh tests/web/run.sh $B

san: packages
	@$(MAKE) -s -j$(JOBS) FLAVOUR=san CFLAGS='-O1 -g' tests
	@sh tests/run.sh build/san $(TESTS:$B/%=build/san/%)

# The threaded parts: crew, scheduler, the daemon itself.
TSAN_TESTS := $(filter %test_crew %test_breaks %test_prefixes %test_packing %test_generate %test_server_scheduler \
                         %test_server_growing %test_nets_threads %test_tasks %test_server_api_proof %test_server_sessions,$(TESTS)) $(filter $B/tests/http/%,$(TESTS))
tsan: packages
	@$(MAKE) -s -j$(JOBS) FLAVOUR=tsan CFLAGS='-O1 -g' build/tsan/seqd build/tsan/seqd-pull $(TSAN_TESTS:$B/%=build/tsan/%)
	@sh tests/run.sh build/tsan $(TSAN_TESTS:$B/%=build/tsan/%)

# The tokenizers against the newest reference library, on random texts; build/parity keeps what differs.
PARITY_TEXTS ?= 100000
PARITY_VENV := build/parity/venv/bin
parity: packages
	@sh tests/lint/packages.sh python3-venv
	@$(MAKE) -s -j$(JOBS) $B/tests/golden/tokenizer_parity
	@[ -x $(PARITY_VENV)/python ] || /usr/bin/python3 -m venv build/parity/venv
	@$(PARITY_VENV)/python -m pip install -q --upgrade tokenizers
	@$(PARITY_VENV)/python tests/golden/tokenizer_parity.py --texts $(PARITY_TEXTS) --jobs $(JOBS)

# Weights that people use, against transformers; build/real keeps what it fetches.
test-real: packages
	@sh tests/lint/packages.sh python3-venv
	@$(MAKE) -s -j$(JOBS) $B/seqd $B/tests/real/real
	@python3 tests/real/real.py $B/tests/real/real $B/seqd

LINT_SRC := $(MODEL_SRC) $(SERVER_SRC) $(PULL_SRC) $(UNIT_SRC) $(HTTP_SRC) $(HTTP_LIB) \
            $(wildcard tests/bench/*.c tests/fuzz/*.c tests/real/*.c weights/training/*.c)
LINT_HDR := $(filter-out %_tables.h,$(wildcard model/*.h model/*/*.h server/*.h server/*/*.h tests/*/*.h))

lint: packages
	@sh tests/lint/packages.sh clang-format clang-tidy clang git
	@sh tests/lint/layers.sh
	@sh tests/lint/style.sh
	@clang-format --dry-run --Werror $(LINT_SRC) $(LINT_HDR)
	@$(MAKE) -s -j$(JOBS) $(LINT_SRC:%.c=build/lint/%.ok) $(LINT_HDR:%.h=build/lint/%.h.ok)
	@echo 'lint: no findings'

# Each parser's fuzz target for FUZZ_SECONDS, from its seed corpus; findings stop the run.
FUZZ_SECONDS ?= 60
FUZZ := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
build/fuzz/%: tests/fuzz/%.c $(MODEL_SRC) $(LINT_HDR)
	@mkdir -p $(@D)
	clang $(CPPFLAGS) -std=c11 -O1 -g -fsanitize=fuzzer,address,undefined -mavx2 -mfma \
	    -o $@ $< $(filter-out model/kernels/% model/nets/% model/tasks/% model/seq.c,$(MODEL_SRC)) $(LIBS_MODEL)

fuzz:
	@sh tests/lint/packages.sh clang libclang-rt-14-dev
	@$(MAKE) -s $(FUZZ)
	@for t in $(FUZZ); do mkdir -p build/corpus/$${t##*/}; d=tests/fuzz/$${t##*/}.dict; \
	    $$t -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 $$([ -f $$d ] && echo -dict=$$d) \
	    build/corpus/$${t##*/} tests/fuzz/corpus/$${t##*/} 2>&1 | tail -n 3 || exit 1; done

build/lint/%.ok: %.c .clang-tidy
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) -std=c11 -MM -MP -MT $@ -MF $(@:.ok=.d) $<
	@clang-tidy --quiet $< -- $(CPPFLAGS) -std=c11 $(if $(findstring avx2,$<),-mavx2 -mfma) \
	    $(if $(findstring avx512,$<),-mavx512f -mavx512vl -mavx512bw -mavx512dq -mavx512vnni -mavx2 -mfma) 2>/dev/null
	@touch $@

build/lint/%.h.ok: %.h
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) -std=c11 -Wall -Wextra -Werror -fsyntax-only -x c $<
	@touch $@

format:
	clang-format -i $(LINT_SRC) $(LINT_HDR)

# ---- the rest -----------------------------------------------------------------------
bench: packages
	@$(MAKE) -s -j$(JOBS) $B/seqd $(patsubst %.c,$B/%,$(wildcard tests/bench/*.c))
	@sh tests/bench/run.sh $B

evaluate: packages
	@$(MAKE) -s $B/weights/training/evaluate

docker:
	@sh docker/build.sh $(VERSION)

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/seqd
	install -s -m 755 $B/seqd $B/seqd-pull $(DESTDIR)$(PREFIX)/bin/
	for d in weights/*/config.json; do d=$${d%/config.json}; \
	    install -d $(DESTDIR)$(PREFIX)/share/seqd/$${d##*/}; \
	    install -m 644 $$d/* $(DESTDIR)$(PREFIX)/share/seqd/$${d##*/}/ || exit 1; done

clean:
	rm -rf build

-include $(wildcard $B/*/*.d $B/*/*/*.d)
-include $(wildcard build/lint/*/*.d build/lint/*/*/*.d)
