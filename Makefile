# The commands of the project. `make demo` and `make test` are all a newcomer needs; both set up everything first.
PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python
KEEP ?=
ROWS ?=
JSON ?=
FAULTS ?=
BREAKING ?=
OUR_PLUGINS := plugins/slack plugins/email plugins/telegram plugins/kakao
CHAOS ?=
CHAOS_SEED ?=

.PHONY: help setup demo test unit check lint types layers proto proto-check states states-check plugin-api plugin-api-check plugin-docs plugin-docs-check wheels chaos conformance bench lock clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

setup: ## make .venv ready (does nothing when it is)
	@$(PYTHON) scripts/setup.py $(if $(filter file,$(origin PYTHON)),,--this-python)

demo: setup ## run the main job on this machine, with stand-ins of the four providers (KEEP=1 leaves it up)
	@$(RUN) -m demo $(if $(KEEP),--keep)

test: setup ## every test
	@$(RUN) -m pytest -q -n 2 --dist loadgroup

unit: setup ## the tests that need no socket, process or file
	@$(RUN) -m pytest -q -n 2 tests/unit

check: setup lint types layers proto-check states-check plugin-api-check plugin-docs-check ## everything that is not a test

lint: setup ## ruff
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: setup ## mypy --strict
	@$(BIN)/mypy

layers: setup ## import-linter: the arrows point one way
	@$(BIN)/lint-imports

proto: setup ## regenerate the code and diagrams made from the wire contract
	@$(RUN) scripts/generate_protocol.py

states: setup ## redraw the state diagrams of docs/delivery.md from the transition tables
	@$(RUN) scripts/draw_states.py

states-check: setup ## the diagrams of docs/delivery.md are fresh
	@$(RUN) scripts/draw_states.py --check

plugin-api: setup ## take additions to the SDK's public face into docs/plugin-api.md (BREAKING=1: changes and removals too)
	@$(RUN) scripts/plugin_api.py $(if $(BREAKING),--breaking)

plugin-api-check: setup ## the SDK's public face is the one in docs/plugin-api.md
	@$(RUN) scripts/plugin_api.py --check

plugin-docs: setup ## rewrite the tables and pages of our own plugins from their models
	@$(BIN)/aisops-plugin docs $(OUR_PLUGINS)

plugin-docs-check: setup ## the tables and pages of our own plugins say what their models say
	@$(BIN)/aisops-plugin docs --check $(OUR_PLUGINS)

proto-check: setup ## buf lint, buf breaking, generated code is fresh
	@cd proto && ../$(BIN)/buf lint && ../$(BIN)/buf breaking --against baseline/v1.binpb
	@$(RUN) scripts/generate_protocol.py --check

wheels: setup ## build every package into dist/, for `pip install --find-links dist`
	@rm -rf dist
	@for package in proto aisops_plugin_sdk aisops_runner aisops_core plugins/*; do \
		(cd $$package && $(CURDIR)/$(RUN) -m hatchling build -t wheel -d $(CURDIR)/dist >/dev/null 2>&1) \
			|| { echo "building $$package failed; try: cd $$package && $(CURDIR)/$(RUN) -m hatchling build -t wheel"; exit 1; }; \
	done
	@ls dist

chaos: setup ## inject faults and count what is lost or doubled (FAULTS=F1,F4 for some; CHAOS=full; CHAOS_SEED=… replays)
	@$(RUN) -m tests.chaos --faults "$(FAULTS)" $(if $(filter full,$(CHAOS)),--full) $(if $(CHAOS_SEED),--seed $(CHAOS_SEED))

conformance: setup ## point the delivery-conformance kit at our own Runner (ONLY=job: one subject or check)
	@$(BIN)/uv pip install -q --python $(RUN) --target build/conformance --no-deps --no-build-isolation plugins/conformance
	@$(BIN)/aisops-delivery-conformance --runner '$(CURDIR)/$(BIN)/aisops-runner run' $(if $(ONLY),--only $(ONLY)) \
		--env PYTHONPATH=$(CURDIR)/build/conformance --env CORE_GRPC_ENDPOINT={endpoint} \
		--env TENANT_ID={tenant} --env RUNNER_ID={runner} --env AISOPS_RUNNER_TOKEN_FILE={token_file} \
		--env AISOPS_RUNNER_DATA_DIR={data} --env AISOPS_RUNNER_JOB_SLOTS=4

bench: setup ## speed, beside its limits and other task queues (ROWS=jobs,streams for some; JSON=FILE keeps the figures)
	@$(RUN) -m bench $(if $(ROWS),--rows "$(ROWS)") $(if $(JSON),--json "$(JSON)")

lock: setup ## pin the newest versions that the requirement files allow
	@$(RUN) scripts/lock.py

clean: ## remove everything that can be made again
	@rm -rf .venv .venv-codegen .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
