# `make demo` and `make test` need only Python 3.11 or newer and, once, the network.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MAKEFLAGS += --no-print-directory

DEMO_DISTS := core kernels plugins/egru[pictures]
ALL_DISTS := $(patsubst %/pyproject.toml,%,$(wildcard core/pyproject.toml kernels/pyproject.toml plugins/*/pyproject.toml))
INSTALL_INPUTS := constraints.txt pyproject.toml $(wildcard core/pyproject.toml kernels/pyproject.toml plugins/*/pyproject.toml)
PINS := $(VENV)/constraints.txt
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -qq -c $(PINS)
editable = $(foreach dist,$(1),-e './$(dist)')

# mamba_ssm without its CUDA extension, for the tests of the patch that stands in for it.
PYTHON_PART := MAMBA_FORCE_BUILD=TRUE MAMBA_SKIP_CUDA_BUILD=TRUE

# The figures of docs/benchmarks.md that need no GPU and no day of training.
BENCHMARKS := startup generate egru_step egru_int8 event_matmul event_formats egru_scan selective_scan ssd_scan mamba stream stream_steps stream_robustness blocklocal spinnaker2

OFFLINE := HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
# One BLAS thread for each of the two workers; files in the order of tests/conftest.py, longest first.
PYTEST := $(OFFLINE) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# What `make check` runs of the tests: all of core, and of each other package what is quick.
FAST := $(wildcard tests/structure tests/core tests/docs \
	tests/kernels/ops/*/test_errors.py tests/kernels/ops/*/test_formulas.py \
	tests/plugins/egru/models/test_configuration.py tests/plugins/egru/models/test_loss.py \
	tests/plugins/egru/text tests/plugins/mamba/ssm tests/plugins/mamba/standins \
	tests/plugins/stream/nn/test_serialization.py tests/plugins/stream/transforms)

.PHONY: demo test check lint coverage firmware-test bench docs examples wheels version clean
.DEFAULT_GOAL := demo

demo: $(VENV)/installed-demo
	@$(OFFLINE) $(BIN)/evenfall egru demo

# The last line printed is pytest's summary.
test: lint
	@$(PYTEST) $(PYTEST_ARGS)

# In under a minute.
check: lint
	@$(PYTEST) -q -m "not slow" $(FAST)

lint: $(VENV)/installed-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy

# Every test, and which lines of each package ran; the floor is 95 % for core and 85 % for the others.
coverage: $(VENV)/installed-test
	@$(PYTEST) --cov --cov-report= $(PYTEST_ARGS)
	@low=; for dist in $(ALL_DISTS); do \
		floor=85; test $$dist != core || floor=95; \
		echo; echo "== $$dist: at least $$floor %"; \
		$(BIN)/python -m coverage report --include="$$dist/src/*" --fail-under=$$floor || low="$$low $$dist"; \
	done; test -z "$$low" || { echo "make: too few lines ran of$$low" >&2; exit 1; }

# SpiNNaker2's PE program on an emulated Cortex-M4F; needs gcc-arm-none-eabi and qemu-system-arm.
firmware-test: $(VENV)/installed-test
	@$(OFFLINE) $(BIN)/python -m pytest tests/plugins/spinnaker2/firmware $(PYTEST_ARGS)

bench: $(VENV)/installed-test
	@set -e; for subject in $(BENCHMARKS); do \
		echo "== $$subject"; $(OFFLINE) $(BIN)/python tests/benchmarks/$$subject.py; \
	done

docs: $(VENV)/installed-docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "The site is in site/index.html"

# The notebooks of docs/examples, in full; their outputs are written into them. In about ten minutes.
examples: $(VENV)/installed-docs
	@$(OFFLINE) $(BIN)/python tools/run_examples.py

wheels: $(VENV)/installed-test
	@$(BIN)/python -m pip wheel --disable-pip-version-check --quiet --no-deps --no-build-isolation \
		--wheel-dir dist . $(addprefix ./,$(ALL_DISTS))
	@ls dist

# All distributions: make version VERSION=0.2.0
version:
	@$(PYTHON) tools/set_version.py $(VERSION)

clean:
	rm -rf $(VENV) dist build site demo_out .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/installed-demo: $(PINS)
	@echo "Installing evenfall into $(VENV) (a few minutes the first time)"
	@$(PIP_INSTALL) $(call editable,$(DEMO_DISTS))
	@touch $@

$(VENV)/installed-test: $(PINS)
	@echo "Installing evenfall and its test tools into $(VENV) (a few minutes the first time)"
	@$(PIP_INSTALL) $(call editable,$(ALL_DISTS)) -e '.[test]'
	@$(PYTHON_PART) $(PIP_INSTALL) --no-build-isolation --no-deps mamba_ssm || \
		echo "mamba_ssm does not install here; its tests are skipped"
	@touch $(VENV)/installed-demo $@

$(VENV)/installed-docs: $(PINS)
	@echo "Installing the documentation tools into $(VENV)"
	@$(PIP_INSTALL) $(call editable,$(ALL_DISTS)) -e '.[docs]'
	@touch $(VENV)/installed-demo $@

# Where pip is already constrained by its environment, those pins win: ours for the same names are
# left out, and with another torch also torchvision and the CUDA packages, which fit only ours.
$(PINS): $(INSTALL_INPUTS)
	@command -v $(PYTHON) >/dev/null || { echo "make: no '$(PYTHON)' found; name one with make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: evenfall needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1); name another with make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@theirs=$$($(BIN)/python -m pip config list | sed -n "s/^[^=]*\.constraint='\(.*\)'$$/\1/p" | sed 's/\\n/ /g'); \
	for file in $$theirs; do test -f "$$file" && cat "$$file"; done | awk -F '[ =<>~!@;[]' ' \
		function name(text) { text = tolower(text); gsub(/[-_.]+/, "-", text); return text } \
		FILENAME == "-" { if ($$1 !~ /^#/) taken[name($$1)] = 1; next } \
		/^#/ || !(name($$1) in taken || ("torch" in taken && name($$1) ~ /^(nvidia|cuda|triton|torchvision)/)) \
		' - constraints.txt > $@.new
	@mv $@.new $@
