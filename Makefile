# The commands of the project; `make help` explains them. Everything that is made lies in build/.
PYTHON ?= python3
PRESET ?= release
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
STEP = @tools/step.sh
VENV_PYTHON = build/venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup build demo test bench bench-gpu cuda oracle oracle-check format lint asan fuzz page readme python test-python real-models test-real clean

help:
	@echo 'make setup         system packages, cargo, libtorch in build/venv (1.3 GB)'
	@echo 'make build         the programs, in build/release/bin/'
	@echo 'make demo          set-up, build, and a tour on the shipped model'
	@echo 'make test          set-up, build and the whole test suite'
	@echo 'make bench         speed and error against the references; writes build/bench.json'
	@echo 'make bench-gpu     rate and error of attribution on a GPU; writes build/bench-gpu.json'
	@echo 'make cuda          adds what --device cuda needs to build/venv (4 GB)'
	@echo 'make oracle        adds the PyTorch reference to build/venv (4.5 GB)'
	@echo 'make oracle-check  makes the stored reference results anew and compares'
	@echo 'make real-models   bert-base-cased, bert-base-uncased and SmolLM2-135M in build/real (2 GB)'
	@echo 'make test-real     tests on these models, against transformers'
	@echo 'make python        the Python package in build/venv-python, with the torch of make oracle'
	@echo 'make test-python   its tests, also against transformers and the command'
	@echo 'make asan          the test suite under AddressSanitizer and UBSan (needs clang)'
	@echo 'make fuzz          every fuzz target for FUZZ_SECONDS (60), on the build of make asan'
	@echo 'make format        formats our C++ code'
	@echo 'make lint          checks format, layers and clang-tidy'
	@echo 'make page          looks at a report in headless Chromium (installs it)'
	@echo 'make readme        runs the commands of README.md'
	@echo 'make clean         removes the build trees (not build/venv, build/venv-python and cargo'"'"'s)'

setup:
	@$(PYTHON) tools/setup.py build

cuda:
	@$(PYTHON) tools/setup.py build cuda

oracle:
	@$(PYTHON) tools/setup.py build oracle

build: setup
	$(STEP) 'configure ($(PRESET))' tools/quietly.sh build/configure.log cmake --preset $(PRESET)
	$(STEP) 'build ($(PRESET))' cmake --build build/$(PRESET) -j $(JOBS)

demo: build
	@tools/demo.sh

test: build
	$(STEP) 'test ($(PRESET))' tools/test.sh $(PRESET) $(JOBS)

bench: build oracle
	$(STEP) 'bench' $(VENV_PYTHON) bench/run.py --out build/bench.json $(BENCH)

bench-gpu: build cuda oracle
	$(STEP) 'bench-gpu' $(VENV_PYTHON) bench/gpu.py --out build/bench-gpu.json $(BENCH)

oracle-check: build oracle
	$(STEP) 'stored reference results, made anew' tools/oracle/remake.sh --check $(VENV_PYTHON)

real-models:
	@$(PYTHON) tools/setup.py real
	$(STEP) 'real models' $(VENV_PYTHON) tools/real_models.py --to build/real

# Needs what `make real-models` and `make oracle` make; skips in plain sight what is not there.
test-real: build oracle
	$(STEP) 'test-real' tools/test_real.sh $(VENV_PYTHON)

python:
	@$(PYTHON) tools/setup.py build oracle
	$(STEP) 'python' env JOBS=$(JOBS) tools/python.sh

test-python:
	@$(PYTHON) tools/setup.py build oracle
	$(STEP) 'test-python' env JOBS=$(JOBS) tools/python.sh test

asan:
	@$(PYTHON) tools/setup.py build fuzz
	@$(MAKE) --no-print-directory PRESET=dev test

format:
	@$(PYTHON) tools/setup.py build lint
	@$(PYTHON) tools/lint.py --fix

lint:
	@$(PYTHON) tools/setup.py build lint
	$(STEP) 'lint' $(PYTHON) tools/lint.py $(LINT)

fuzz:
	@$(PYTHON) tools/setup.py build fuzz
	@$(MAKE) --no-print-directory PRESET=dev build
	$(STEP) 'fuzz' tools/fuzz.sh

page: build
	@$(PYTHON) tools/setup.py build report
	$(STEP) 'the report in Chromium' build/release/bin/report_tests --gtest_filter='*Chromium*'

readme: build
	$(STEP) 'the commands of README.md' $(PYTHON) tools/check_readme.py

clean:
	rm -rf build/release build/dev build/tidy build/fuzz build/python-wheel
