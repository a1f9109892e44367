# Everything runs inside .venv; a fresh machine needs Python 3.11 and make.
PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install demo ci-deps test lint docs bench ablation fuzz kills mutants hashes check-hashes licences sbom audit dist clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: install
	$(BIN)/fclf demo --output-dir results/demo --overwrite

# The tests of pages need a browser and those of clusters Ray; without them they are skipped, and everything else goes on.
ci-deps: install
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ray]' \
	  || echo 'Ray could not be installed: the tests on a cluster will be skipped.'
	@test -x /usr/bin/chromium || { \
	  if test "$$(id -u)" = 0; then as=; elif command -v sudo > /dev/null; then as='sudo -n'; else as=false; fi; \
	  $$as apt-get update && $$as apt-get install -y --no-install-recommends chromium; } \
	  || echo 'No /usr/bin/chromium, and it could not be installed: the tests in a browser will be skipped.'

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest -n 2 --dist loadfile

# Mistakes made on purpose, each of which a test must notice: tests/mutants/mutants.py. About ten minutes.
mutants: install
	$(BIN)/python tests/mutants/run.py

# The documentation, in site/; a warning is an error. The variable silences an advertisement of the theme's.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Speed against the reference's loops and the machine's bounds, under ten minutes; leave the machine alone meanwhile.
bench: install
	$(BIN)/python -m benchmarks.speed --output results/bench.json

ablation: install
	for name in centred cone; do \
	  $(BIN)/fclf ablate --embeddings "$${FCLF_SHARED-../shared}/data/celeba_$$name.npz" \
	    --output-dir results/ablation/$$name || exit; \
	done
	$(BIN)/python benchmarks/readme.py results/ablation/centred results/ablation/cone

# Bad input of every kind, 600 cases each, then what a fuzzer finds, then the web API; about half an hour.
fuzz: install
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	$(BIN)/python -m tests.faults.inputs --cases 600
	$(BIN)/python -m tests.faults.inputs.guided --runs 20000
	$(BIN)/python tests/faults/web.py --cases 2000

# SIGKILL at 100 random moments of a training run, and 20 of the others that can go on; minutes.
kills: install
	$(BIN)/python tests/faults/kills.py --times 100 --seed 0
	$(BIN)/python tests/faults/kills.py --times 20 --seed 0 --kind edit
	$(BIN)/python tests/faults/kills.py --times 20 --seed 0 --kind embed

# requirements/: versions and hashes of the default install; asks the package index.
hashes: install
	$(BIN)/python -m scripts.supply.hashes

# ... and whether pip takes them, in an environment of its own.
check-hashes:
	rm -rf build/hashes
	$(PYTHON) -m venv build/hashes
	build/hashes/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
	  -r requirements/default.txt
	build/hashes/bin/pip check

# docs/licences.md, from what is installed; the part that is not in `dev` is installed first.
licences: install
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ray]'
	$(BIN)/python -m scripts.supply.licences

# A bill of materials of the default install, in CycloneDX's JSON.
sbom: install
	$(BIN)/python -m scripts.supply.sbom dist/fclf.cdx.json

# Known vulnerabilities of the pinned releases; asks a service, and fails where it does not answer.
audit: install
	$(BIN)/python -m scripts.supply.audit

# Source distribution and wheel, in dist/.
dist: install
	$(BIN)/python -m build --no-isolation --outdir dist

clean:
	rm -rf .venv results build dist site
