# What one does with a fresh clone. `make` lists it.
#
#   PYTHON=python3.12 make setup     another interpreter for the virtual environment
#   make VENV=/path/to/venv test     an environment that exists already

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.unseen-setup
DATA ?=
FULL ?=
OUTPUT ?= demo
OPTIONS ?=
PORT ?=
DATASET ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo benchmark app test e2e install-test check lint format docs site notebook pictures clean-venv

help: ## list these commands
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1|\2/' \
		| awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

setup: $(STAMP) ## make the virtual environment, install the package, provide MongoDB

# The stamp comes last: what was interrupted is done again. torch and torchvision are asked for in
# one call, so that pip picks a matching pair.
$(STAMP): pyproject.toml
	@rm -f $(STAMP)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[dev]' torch torchvision
	$(BIN)/python -m unseen.dataset.mongodb
	@touch $(STAMP)

demo: $(STAMP) ## run the whole loop: DATA=<COCO folder> for your images, FULL=1 for the full set
	$(BIN)/unseen demo --output $(OUTPUT) $(if $(DATA),--data "$(DATA)") $(if $(FULL),--full) $(OPTIONS)

benchmark: $(STAMP) ## compare strategies on synthetic images: DATA=<COCO folders>, OPTIONS="--seeds 0,1"
	$(BIN)/unseen benchmark synthetic:bare synthetic:device synthetic:texture synthetic:lookalikes $(DATA) \
		--output $(OUTPUT)-benchmark $(OPTIONS)

app: $(STAMP) ## open the FiftyOne App on the newest demo: DATASET=<name>, PORT=<number>
	$(BIN)/unseen app $(DATASET) $(if $(PORT),--port $(PORT)) $(OPTIONS)

test: $(STAMP) ## run the tests, on up to four cores
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile $(OPTIONS)

e2e: $(STAMP) ## run the tests of the App in a browser; installs Chromium where there is none
	UNSEEN_BROWSER="$$($(BIN)/python tests/doubles/app_browser.py)" && export UNSEEN_BROWSER && \
		$(BIN)/python -m pytest -m e2e tests/e2e $(OPTIONS)

install-test: $(STAMP) ## install as users do, in clean environments of every Python here; downloads 6 GB once
	$(BIN)/python -m pytest -m install tests/install $(OPTIONS)

check: lint test ## everything a change must pass: lint, format, types, layers, tests

lint: $(STAMP) ## lint, format, types and layers, without the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## bring the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP) ## write the tables of docs/reference.md and the list of fiftyone.yml again
	$(BIN)/python docs/reference.py

site: $(STAMP) ## build the documentation as a site: open site/index.html
	$(BIN)/python -m pip install --disable-pip-version-check -q -e '.[site]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

notebook: $(STAMP) ## run docs/example.ipynb again and keep its outputs
	$(BIN)/python -m pip install --disable-pip-version-check -q -e '.[docs]'
	$(BIN)/python docs/notebook.py

pictures: $(STAMP) ## take the pictures of the App in docs/pictures again
	$(BIN)/python -m pip install --disable-pip-version-check -q -e '.[docs]'
	$(BIN)/python docs/app_pictures.py $(OPTIONS)

clean-venv: ## remove the virtual environment
	rm -rf $(VENV)
