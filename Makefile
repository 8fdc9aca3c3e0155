# The one door. `make demo` and `make test` need a C++ compiler and Python >= 3.10; they fetch the rest into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SOURCES := CMakeLists.txt pyproject.toml $(shell find cpp python/claude_flow -type f -not -name '*.pyc' -not -name '*.so')

.PHONY: demo test lint docs models clean

demo: $(VENV)/.installed  ## print assignments for the guide's example swarm, by the model that ships with the package
	$(BIN)/claude-flow neural infer coordination --input docs/examples/swarm.json --explain-decision true

test: lint cpp-test $(VENV)/.tools  ## everything: lint, C++ (CTest), Python (pytest and the examples in the docstrings)
	$(BIN)/python -m pytest -n 2 tests
	cd build && ../$(BIN)/python -m pytest -n 2 --doctest-modules --pyargs claude_flow -p no:cacheprovider

.PHONY: cpp-test
cpp-test: $(VENV)/.tools
	$(BIN)/cmake -S . -B build/test -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DCMAKE_BUILD_TYPE=Release \
	  -DCLAUDE_FLOW_TESTS=ON -Dpybind11_DIR=$$($(BIN)/python -m pybind11 --cmakedir) \
	  -DPython_EXECUTABLE=$(abspath $(BIN))/python >build/test.log || (cat build/test.log; exit 1)
	$(BIN)/cmake --build build/test
	$(BIN)/ctest --test-dir build/test --output-on-failure

lint: $(VENV)/.tools  ## formatting, static checks, and the generated pages of docs/ against the code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $$(find cpp -name '*.h' -o -name '*.cpp' -o -name '*.inc')
	$(BIN)/python -m claude_flow.cli.reference --check docs/cli

docs: $(VENV)/.tools  ## regenerate the pages of docs/ that come from the code
	$(BIN)/python -m claude_flow.cli.reference docs/cli

models: $(VENV)/.tools  ## train the models that ship with the package (DATA=folder of the public data sets)
	$(BIN)/python python/claude_flow/models/train.py $(DATA)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python $(SOURCES)  ## the wheel, built from this tree and installed
	@mkdir -p build
	$(BIN)/pip install -q --disable-pip-version-check --upgrade --force-reinstall --no-deps .
	$(BIN)/pip install -q --disable-pip-version-check .
	@touch $@

$(VENV)/.tools: $(VENV)/.installed
	$(BIN)/pip install -q --disable-pip-version-check '.[test,lint]' 'cmake>=3.18' ninja 'pybind11>=3.0'
	@touch $@

clean:
	rm -rf $(VENV) build
