# Everything runs inside .venv; a fresh machine needs Python 3.11 and make.
PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install demo test lint ablation clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: install
	$(BIN)/fclf demo --output-dir results/demo --overwrite

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest -n 2 --dist loadfile

ablation: install
	for name in centred cone; do \
	  $(BIN)/fclf ablate --embeddings "$${FCLF_SHARED-../shared}/data/celeba_$$name.npz" \
	    --output-dir results/ablation/$$name || exit; \
	done
	$(BIN)/python benchmarks/readme.py results/ablation/centred results/ablation/cone

clean:
	rm -rf .venv results build dist
