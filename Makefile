# The commands of the project. README, CONTRIBUTING and .ci/run use these and no others.

# The cargo profile of everything but `bench`: `dev` for quick rebuilds, `ci` as CI builds it.
PROFILE ?= dev
# Which benchmark `make bench` runs.
BENCH ?= overhead

export PROFILE

.DEFAULT_GOAL := help
.PHONY: help setup demo tour test test-arm fuzz soak memory bench bench-node bench-peers bench-report bench-http lint minimal-versions fmt gen gen-check models samples-check cuda-toolchain cuda-check gpu-check release-check docs doc ci

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Installs what the tests need and this machine lacks
	scripts/setup

demo: ## Shows the tour, then the four systems in the browser, against mocks; no keys. SYSTEM=procurement, triage, image-studio or clip-search: that one alone; OPTIONS='--once --shots FOLDER'
	scripts/demo $(SYSTEM) $(OPTIONS)

tour: ## Shows what there is in the terminal; no keys, no network; more of it after `make models`
	scripts/tour

test: ## Runs every test: Rust, Python, Node, pages in a browser, generated files, behaviour suite
	scripts/test

fuzz: ## Mutates recorded bodies against every parser of procurement, and model folders, with a new seed: SECONDS=600
	scripts/fuzz $(or $(SECONDS),600)

test-arm: ## Runs the tests of the CPU kernels as 64-bit ARM code under QEMU, on x86 with Debian: MODELS='neoverse-n2'
	scripts/emulated $(MODELS)

memory: ## Runs the tests of the CPU kernels under the address sanitizer
	scripts/check_memory

soak: ## Random requests to the local chat model, in the process and over HTTP, as long as wanted: SECONDS=3600
	scripts/soak $(or $(SECONDS),60)

bench: ## Runs one benchmark in a release build: BENCH=overhead (of Rust, then of Node.js), kernels, pictures, embed, chat or procurement; OPTIONS='--quick --only gemm_int8'
	@missed=0; cargo run --release -p ayni-benches $(if $(filter overhead procurement chat,$(BENCH)),--no-default-features)$(if $(filter procurement chat,$(BENCH)), --features $(BENCH)) -- $(BENCH) $(OPTIONS) || missed=1; \
	$(if $(filter overhead,$(BENCH)),scripts/bench-node || missed=1; )exit $$missed

bench-peers: ## Measures ours and other libraries in one run: SUITE=embed or chat, OPTIONS='--quick --only minilm'
	scripts/bench-peers $(SUITE) $(OPTIONS)

bench-node: ## Measures what a call from Node.js adds, with a release build of the addon; a part of BENCH=overhead
	scripts/bench-node

bench-report: ## Draws the README's chart of ratios from the committed pages of results
	python3 scripts/bench_report.py

bench-http: ## Measures `ayni serve clip` and FastAPI + sentence-transformers: PYTHON=… with the release wheel
	benches/http/run $(or $(PYTHON),$(error say PYTHON=venv/bin/python: one with the release wheel and its extra fastapi)) $(OPTIONS)

lint: ## Checks formatting, lints, documentation, dependencies and the tree
	scripts/lint

minimal-versions: ## Compiles with the oldest dependencies that Cargo.toml allows
	scripts/check-minimal-versions

fmt: ## Formats the Rust code
	cargo fmt --all

gen: ## Writes docs/reference/, generated modules of the bindings and the picture in docs/ARCHITECTURE.md from the code
	scripts/generate write

gen-check: ## Fails if what `make gen` writes is not what the code says
	scripts/generate check

models: ## Fetches the two real models into the cache folder (AYNI_CACHE)
	scripts/models

samples-check: ## Judges the sample models by drawings and texts that they were not trained on
	scripts/samples-check

cuda-toolchain: ## Installs the CUDA compiler into the cache folder (AYNI_CACHE); no GPU needed
	scripts/cuda-toolchain

cuda-check: ## Builds with the feature `cuda` and starts the result on this machine
	scripts/cuda-check

gpu-check: ## Measures local models on the GPU of this machine; writes docs/reference/gpu.md (DEVICE=cuda:0)
	scripts/gpu-check $(or $(DEVICE),cuda:0)

release-check: ## Builds what a release uploads, installs it as users do and runs its READMEs
	scripts/release-check

docs: ## Builds docs/ into a site with search, into target/site
	scripts/docs

doc: ## Builds the API documentation
	scripts/lint doc

ci: ## Runs what CI runs
	bash .ci/run
