# Sieve. `make help` lists the targets. Objects stand in build/<variant>/, so that variants stand side by side. All paths here
# are relative: the tree may stand under any name, with spaces too.
SHELL := /bin/bash
VARIANT ?= release
ifeq ($(origin CC),default)
CC := $(if $(filter fuzz,$(VARIANT)),clang,gcc)
endif
BUILD ?= build/$(VARIANT)
PREFIX ?= /usr/local
DESTDIR ?=
AR ?= ar
VERSION := $(shell sed -n 's/^.define SV_VERSION "\(.*\)"/\1/p' base/base.h)

LIBRARY_FOLDERS := base kernels autograd formats layers pruning latency data comm report eval infer train
WARNINGS := -Wall -Wextra -Wpointer-arith -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-sign-conversion -Werror
# gcc counts every sentence that may be cut, which sentences of fixed room are by contract; clang does not know the word.
WARNINGS += $(if $(findstring clang,$(shell $(CC) --version)),,-Wno-format-truncation)
COMMON := -std=c17 -D_GNU_SOURCE -I. -ffp-contract=off -fno-math-errno -fopenmp -MMD -MP $(WARNINGS)
FLAGS_release := -O2 -ftree-vectorize -g
FLAGS_debug := -O0 -g3
FLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FLAGS_tsan := -O1 -g -fsanitize=thread
FLAGS_f64 := -O2 -g -DSIEVE_F64
FLAGS_coverage := -O0 -g --coverage
FLAGS_fuzz := -O1 -g -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all
ifeq ($(FLAGS_$(VARIANT)),)
$(error VARIANT=$(VARIANT) is not known; expected release, debug, asan, tsan, f64, coverage or fuzz)
endif
FLAGS = $(COMMON) $(FLAGS_$(VARIANT)) $(MACHINE_FLAGS) $(CFLAGS)
LIBRARIES := -ljpeg -lpng -lz -lm

SOURCES := $(foreach f,$(LIBRARY_FOLDERS),$(wildcard $(f)/*.c))
MACHINE := $(shell $(CC) -dumpmachine)
ifneq ($(VARIANT),f64)
ifneq ($(findstring x86_64,$(MACHINE)),)
SOURCES += $(wildcard kernels/x86/*.c)
MACHINE_FLAGS := -DSIEVE_X86
endif
ifneq ($(findstring aarch64,$(MACHINE)),)
SOURCES += $(wildcard kernels/arm/*.c)
MACHINE_FLAGS := -DSIEVE_ARM
endif
endif
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
PROGRAMS := $(patsubst programs/%.c,%,$(wildcard programs/*.c))
TEST_SOURCES := $(wildcard tests/unit/*/*.c tests/golden/*.c tests/property/*.c tests/fault/*.c)
UNIT_SOURCES := $(wildcard tests/unit/*/*.c)
F64_SOURCES := $(wildcard tests/unit/autograd/*.c tests/unit/latency/gradient.c tests/golden/*.c)
TSAN_SOURCES := $(wildcard tests/unit/base/*.c tests/unit/data/*.c tests/unit/comm/*.c tests/unit/infer/*.c tests/unit/autograd/peers.c)
FUZZ_SOURCES := $(wildcard tests/fuzz/fuzz_*.c)
TESTS := $(TEST_SOURCES:%.c=$(BUILD)/%)
FUZZERS := $(FUZZ_SOURCES:%.c=$(BUILD)/%)

ifeq ($(VARIANT),release)
BIN ?= bin
else
BIN ?= $(BUILD)/bin
endif

# With MPI=1 one object is other than without: comm/mpi.o. MPICC says whose MPI; its flags are asked for, the compiler stays ours.
MPICC ?= mpicc
mpi_cflags = -DSIEVE_MPI $(patsubst -I%,-isystem %,$(filter -I%,$(shell $(1) -show)))
mpi_libraries = $(filter -L% -l% -Wl%,$(shell $(1) -show))
ifdef MPI
MPI_CFLAGS := $(call mpi_cflags,$(MPICC))
LIBRARIES += $(call mpi_libraries,$(MPICC))
endif

.PHONY: interop delay-line latency-static classify-static infer all programs library tests unit-tests f64-tests tsan-tests fuzzers check f64 asan tsan fuzz faults soak install install-infer uninstall clean help lint format \
        quickstart bench bench-peer docs FORCE
.SECONDARY:
.DELETE_ON_ERROR:

all: programs library
programs: $(PROGRAMS:%=$(BIN)/%)
library: $(BUILD)/libsieve.a
tests: $(TESTS) delay-line
unit-tests: $(UNIT_SOURCES:%.c=$(BUILD)/%)
f64-tests: $(F64_SOURCES:%.c=$(BUILD)/%)
tsan-tests: $(TSAN_SOURCES:%.c=$(BUILD)/%)
fuzzers: $(FUZZERS)

# ---- how things are made ------------------------------------------------------------------------------------------------

# Every object depends on the compiler and its flags, and the library on the list of its objects: a changed flag rebuilds, a
# removed file leaves the library.
$(BUILD)/.flags: FORCE
	@mkdir -p $(BUILD)
	@echo '$(CC) $(FLAGS)' | cmp -s - $@ || echo '$(CC) $(FLAGS)' > $@
$(BUILD)/.objects: FORCE
	@mkdir -p $(BUILD)
	@echo '$(OBJECTS)' | cmp -s - $@ || echo '$(OBJECTS)' > $@
$(BUILD)/.mpi: FORCE
	@mkdir -p $(BUILD)
	@echo '$(MPI_CFLAGS)' | cmp -s - $@ || echo '$(MPI_CFLAGS)' > $@
FORCE:

$(BUILD)/libsieve.a: $(OBJECTS) $(BUILD)/.objects
	@rm -f $@
	@$(AR) rcs $@ $(OBJECTS)

# Only files named for an instruction set are compiled for it; all others must run anywhere.
AVX512_FLAGS := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprfchw
ISA_FLAGS = $(if $(findstring _amx,$(1)),$(AVX512_FLAGS) -mavx512bf16 -mamx-tile -mamx-bf16)\
            $(if $(findstring _avx512_bf16,$(1)),$(AVX512_FLAGS) -mavx512bf16,$(if $(findstring _avx512,$(1)),$(AVX512_FLAGS)))\
            $(if $(findstring _avx2,$(1)),-mavx2 -mfma)
$(BUILD)/%.o: %.c $(BUILD)/.flags
	@mkdir -p $(dir $@)
	@echo "  cc $(VARIANT) $<"
	@$(CC) $(FLAGS) $(call ISA_FLAGS,$<) -c $< -o $@

$(BUILD)/comm/mpi.o: comm/mpi.c $(BUILD)/.flags $(BUILD)/.mpi
	@mkdir -p $(dir $@)
	@echo "  cc $(VARIANT) $<$(if $(MPI), (MPI=1))"
	@$(CC) $(FLAGS) $(MPI_CFLAGS) -c $< -o $@
# Beside one another, for the checks: build/release/mpi/train.openmpi, train.mpich.
$(BUILD)/mpi/train.%: $(BUILD)/programs/train.o $(BUILD)/libsieve.a comm/mpi.c
	@mkdir -p $(dir $@)
	@echo "  ld $@"
	@$(CC) $(filter-out -MMD -MP,$(FLAGS)) $(call mpi_cflags,mpicc.$*) comm/mpi.c $(BUILD)/programs/train.o $(BUILD)/libsieve.a $(LIBRARIES) $(call mpi_libraries,mpicc.$*) -o $@

$(BIN)/%: $(BUILD)/programs/%.o $(BUILD)/libsieve.a
	@mkdir -p $(BIN)
	@echo "  ld $@"
	@$(CC) $(FLAGS) $< $(BUILD)/libsieve.a $(LIBRARIES) -o $@

# The inference library, for other people's programs: of all objects only what sieve_infer.h leads to, in one object whose other names
# are gone, so that it can stand beside libsieve.a or another copy of itself. Position-independent objects have a folder of their own.
INFER_VERSION := 0
INFER := $(BUILD)/libsieve-infer
OBJCOPY ?= $(patsubst %ar,%objcopy,$(AR))
PIC_SOURCES := $(filter-out comm/% report/% train/%,$(SOURCES))
PIC_OBJECTS := $(PIC_SOURCES:%.c=$(BUILD)/pic/%.o)
PIC_FLAGS := -fPIC -fvisibility=hidden
infer: $(INFER).a $(INFER).so
$(BUILD)/pic/%.o: %.c $(BUILD)/.flags
	@mkdir -p $(dir $@)
	@echo "  cc $(VARIANT) pic $<"
	@$(CC) $(FLAGS) $(PIC_FLAGS) $(call ISA_FLAGS,$<) -c $< -o $@
$(BUILD)/pic/all.a: $(PIC_OBJECTS) $(BUILD)/.objects
	@rm -f $@
	@$(AR) rcs $@ $(PIC_OBJECTS)
$(BUILD)/pic/infer.o: $(BUILD)/pic/all.a
	@$(CC) -r -nostdlib $(filter $(BUILD)/pic/infer/%.o,$(PIC_OBJECTS)) $< -o $@.whole
	@$(OBJCOPY) --localize-hidden --strip-debug $@.whole $@
	@rm -f $@.whole
$(INFER).a: $(BUILD)/pic/infer.o
	@rm -f $@
	@echo "  ar $@"
	@$(AR) rcs $@ $<
$(INFER).so: $(BUILD)/pic/infer.o
	@echo "  ld $@"
	@$(CC) $(FLAGS) -shared -Wl,-soname,$(@F).$(INFER_VERSION) -Wl,--no-undefined -Wl,--as-needed $< $(LIBRARIES) -o $@

# Programs with nothing to install beside them, for a device: bin/latency-static, bin/classify-static, of this machine or
# (CROSS=aarch64-linux-gnu-) another.
CROSS ?=
latency-static classify-static:
	@$(MAKE) --no-print-directory $(if $(CROSS),CC=$(CROSS)gcc AR=$(CROSS)ar BUILD=build/$(CROSS)release BIN=build/$(CROSS)release/bin,) $(if $(CROSS),build/$(CROSS)release/bin,$(BIN))/$@
define static_program
%/$(1)-static: $$(BUILD)/programs/$(1).o $$(BUILD)/libsieve.a
	@mkdir -p $$(dir $$@)
	@echo "  ld $$@ (static)"
	@$$(CC) $$(FLAGS) -static $$< $$(BUILD)/libsieve.a $$(LIBRARIES) -o $$@
	@! { command -v ldd > /dev/null && ldd $$@ > /dev/null 2>&1; } || { echo "$$@ still needs libraries:"; ldd $$@; exit 1; }
endef
$(foreach program,latency classify,$(eval $(call static_program,$(program))))

# Programs for measuring networks that are not there, not installed (tools/scale-measure.sh, tests/cli/network.sh). What they are made of has tests.
DELAY_LINE := $(patsubst %,$(BUILD)/tools/%.o,delay_switch namespace tap)
delay-line: $(BUILD)/tools/delay_line $(BUILD)/tools/line_probe
$(BUILD)/tools/delay_line $(BUILD)/tools/line_probe: $(BUILD)/tools/%: $(BUILD)/tools/%.o $(DELAY_LINE) $(BUILD)/libsieve.a
	@echo "  ld $@"
	@$(CC) $(FLAGS) $< $(DELAY_LINE) $(BUILD)/libsieve.a $(LIBRARIES) -o $@
$(BUILD)/tests/unit/tools/%: $(BUILD)/tests/unit/tools/%.o $(DELAY_LINE) $(BUILD)/libsieve.a
	@mkdir -p $(dir $@)
	@$(CC) $(FLAGS) $< $(DELAY_LINE) $(BUILD)/libsieve.a $(LIBRARIES) -lcmocka -o $@

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/libsieve.a
	@mkdir -p $(dir $@)
	@$(CC) $(FLAGS) $< $(BUILD)/libsieve.a $(LIBRARIES) -ljansson -lcmocka -o $@

# A fuzz target is one function. VARIANT=fuzz gives it libFuzzer's main, every other variant the one that replays a corpus.
ifeq ($(VARIANT),fuzz)
$(BUILD)/tests/fuzz/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/libsieve.a
	@$(CC) $(FLAGS) -fsanitize=fuzzer $< $(BUILD)/libsieve.a $(LIBRARIES) -o $@
else
$(BUILD)/tests/fuzz/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay.o $(BUILD)/libsieve.a
	@$(CC) $(FLAGS) $< $(BUILD)/tests/fuzz/replay.o $(BUILD)/libsieve.a $(LIBRARIES) -o $@
endif

# ---- checks -------------------------------------------------------------------------------------------------------------

check:
	@tools/check.sh $(ARGS)
f64:
	@$(MAKE) --no-print-directory VARIANT=f64 f64-tests
	@tools/run-tests.sh $(F64_SOURCES:%.c=build/f64/%)
asan:
	@$(MAKE) --no-print-directory VARIANT=asan unit-tests
	@tools/run-tests.sh $(UNIT_SOURCES:%.c=build/asan/%)
tsan:
	@$(MAKE) --no-print-directory VARIANT=tsan tsan-tests
	@tools/run-tests.sh $(TSAN_SOURCES:%.c=build/tsan/%)
fuzz:
	@$(MAKE) --no-print-directory VARIANT=fuzz fuzzers
	@echo "run one with, say: build/fuzz/tests/fuzz/fuzz_config -max_total_time=60 tests/fuzz/corpus/fuzz_config"
faults: programs
	@$(MAKE) --no-print-directory VARIANT=asan programs
	@FAULTS='$(or $(FAULTS),25)' tools/faults.sh
	@FAULTS='$(or $(LEAKS),2)' SIEVE_BIN=build/asan/bin tools/faults.sh
soak: programs
	@SOAK='$(SOAK)' tools/soak.sh
lint:
	@tools/check-layers.sh
	@tools/check-headers.sh
	@tools/check-words.sh
format:
	@git ls-files '*.c' '*.h' | tr '\n' '\0' | xargs -0 clang-format -i

# ---- for people ---------------------------------------------------------------------------------------------------------

quickstart:
	@tools/quickstart.sh
bench: $(BIN)/bench
	@$(BIN)/bench $(ARGS)
interop: programs
	@tools/interop.sh
bench-peer: programs
	@tools/bench-peer.sh $(ARGS)
docs: $(BIN)/opdocs $(BIN)/train
	@$(BIN)/opdocs > docs/ops.md.new && mv docs/ops.md.new docs/ops.md
	@$(BIN)/train --keys-markdown > docs/config.md.new && mv docs/config.md.new docs/config.md

install: all infer
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' INFER_VERSION='$(INFER_VERSION)' VERSION='$(VERSION)' BUILD='$(BUILD)' BIN='$(BIN)' tools/install.sh
install-infer: infer
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' INFER_VERSION='$(INFER_VERSION)' VERSION='$(VERSION)' BUILD='$(BUILD)' tools/install.sh --infer
uninstall:
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' tools/install.sh --remove

clean:
	@rm -rf build bin

help:
	@echo "make               programs in bin/, library in build/release/libsieve.a"
	@echo "make check         everything that must hold; ARGS=--ci adds the slow part"
	@echo "make quickstart    from nothing to a pruned, measured, exported model on this machine, with built-in pictures"
	@echo "make f64           gradients in double precision"
	@echo "make asan, tsan    unit tests under AddressSanitizer and UBSan; tests of threads under ThreadSanitizer"
	@echo "make fuzz          fuzz targets with libFuzzer (clang)"
	@echo "make faults        each allocation, read, write, thread, message ... fails in turn; FAULTS=n points a kind (25) or all; LEAKS=n under ASan"
	@echo "make soak          a run that is killed, starved of memory and disk, shown broken pictures, beside one in peace; SOAK=minutes (30)"
	@echo "make bench         speed, beside the peak of this machine; ARGS='--case gemm' for one case"
	@echo "make bench-peer    the same beside PyTorch and OpenVINO, set up in build/peer; writes docs/performance.md"
	@echo "make docs          reference pages that are printed from the program's own tables"
	@echo "make lint, format  layers, headers, words; clang-format"
	@echo "make interop         what TensorBoard and onnxruntime and PyTorch read of ours; sets up Python packages in build/interop"
	@echo "make latency-static  bin/latency-static, which measures on a device with nothing installed; CROSS=aarch64-linux-gnu- for an ARM board"
	@echo "make classify-static bin/classify-static, likewise: a model's answers on a device (docs/how-to-arm.md)"
	@echo "make infer         build/release/libsieve-infer.a and .so, for programs that only ask models (docs/how-to-infer.md); install-infer installs them alone"
	@echo "make delay-line    lines of a chosen delay and rate between network namespaces, and what measures them (build/release/tools/)"
	@echo "make MPI=1         bin/train for mpirun; MPICC=mpicc.openmpi or mpicc.mpich says whose (tools/install-deps.sh --mpi)"
	@echo "make install       PREFIX=$(PREFIX), DESTDIR=; programs as sieve-NAME, library, headers, configs; uninstall removes them"
	@echo "make clean         removes build/ and bin/"
	@echo "Variants: VARIANT=release debug asan tsan f64 coverage fuzz; compiler: CC=gcc or clang"

-include $(OBJECTS:.o=.d) $(PIC_OBJECTS:.o=.d) $(TESTS:%=%.d) $(FUZZERS:%=%.d) $(BUILD)/tests/fuzz/replay.d $(PROGRAMS:%=$(BUILD)/programs/%.d) $(DELAY_LINE:.o=.d) \
	$(BUILD)/tools/delay_line.d $(BUILD)/tools/line_probe.d
