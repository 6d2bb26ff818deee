# Sieve. `make help` lists the targets. Objects stand in build/<variant>/, so that variants stand side by side.
SHELL := /bin/bash
VARIANT ?= release
CC ?= gcc
BUILD := build/$(VARIANT)
PREFIX ?= /usr/local

LIBRARY_FOLDERS := base kernels autograd formats layers pruning latency data comm report eval train
WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-sign-conversion -Werror
COMMON := -std=c17 -D_GNU_SOURCE -I. -ffp-contract=off -fno-math-errno -fopenmp -MMD -MP $(WARNINGS)
FLAGS_release := -O2 -ftree-vectorize -g
FLAGS_debug := -O0 -g3
FLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FLAGS_tsan := -O1 -g -fsanitize=thread
FLAGS_f64 := -O2 -g -DSIEVE_F64
FLAGS_coverage := -O0 -g --coverage
FLAGS := $(COMMON) $(FLAGS_$(VARIANT)) $(CFLAGS)
LIBRARIES := -ljansson -ljpeg -lpng -lz -lm

SOURCES := $(foreach f,$(LIBRARY_FOLDERS),$(wildcard $(f)/*.c))
MACHINE := $(shell $(CC) -dumpmachine)
ifneq ($(findstring x86_64,$(MACHINE)),)
ifneq ($(VARIANT),f64)
SOURCES += $(wildcard kernels/x86/*.c)
FLAGS += -DSIEVE_X86
endif
endif
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
PROGRAMS := $(patsubst programs/%.c,%,$(wildcard programs/*.c))
TESTS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/*/*.c tests/golden/*.c tests/property/*.c tests/fault/*.c))

ifeq ($(VARIANT),release)
BIN := bin
else
BIN := $(BUILD)/bin
endif

.PHONY: all programs check f64 asan tsan install clean help lint format quickstart bench tests docs
all: programs
programs: $(PROGRAMS:%=$(BIN)/%)

$(BUILD)/libsieve.a: $(OBJECTS)
	@rm -f $@
	@ar rcs $@ $(OBJECTS)

$(BUILD)/.flags: FORCE
	@mkdir -p $(BUILD)
	@echo '$(CC) $(FLAGS)' | cmp -s - $@ || echo '$(CC) $(FLAGS)' > $@
FORCE:

ISA_FLAGS = $(if $(findstring _avx512,$(1)),-mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma,$(if $(findstring _avx2,$(1)),-mavx2 -mfma))
$(BUILD)/%.o: %.c $(BUILD)/.flags
	@mkdir -p $(dir $@)
	@echo "  cc $(VARIANT) $<"
	@$(CC) $(FLAGS) $(call ISA_FLAGS,$<) -c $< -o $@

$(BIN)/%: $(BUILD)/programs/%.o $(BUILD)/libsieve.a
	@mkdir -p $(BIN)
	@echo "  ld $@"
	@$(CC) $(FLAGS) $< $(BUILD)/libsieve.a $(LIBRARIES) -o $@

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/libsieve.a
	@mkdir -p $(dir $@)
	@$(CC) $(FLAGS) $< $(BUILD)/libsieve.a $(LIBRARIES) -lcmocka -o $@
tests: $(TESTS)
.SECONDARY:

check:
	@tools/check.sh $(ARGS)

-include $(OBJECTS:.o=.d) $(patsubst %,%.d,$(TESTS)) $(PROGRAMS:%=$(BUILD)/programs/%.d)
