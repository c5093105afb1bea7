# make demo          trains both labs on the offline samples and writes images
# make test          tests every module and every guarantee once; docs/testing.md describes the tiers
# make test-slow     runs longer tests, and repeats guarantees with more draws
# make test-prepare  prepares MNIST with TFDS and TensorFlow, in .venv-prepare/
# make test-accelerators  compiles every experiment for GPUs and TPUs, in .venv-accelerators/; no such device is needed
# make stress        kills runs at every write, and runs other tests that take minutes; under half an hour
# make bench         compares lab10 with Keras, Flax, and PyTorch and TensorFlow if installed; BENCH=--short uses the samples
# make result-NAME   trains an experiment on real data with seeds 0, 1 and 2, and evaluates each on the test split
# make lint          runs ruff and mypy
# make clean         removes environments and caches
# Each target sets up .venv/ by itself; it needs only Python and a package index.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Pinned versions. For the newest ones: make test CONSTRAINTS=
CONSTRAINTS ?= constraints.txt
INSTALL := -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))

.PHONY: demo test test-slow test-accelerators stress bench lint test-prepare clean

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

# One worker more than cores, at most four, each pinned to a core (tests/conftest.py). Without compiled modules,
# importing the tests takes twice as long.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

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

# Prepares MNIST from its four original files in MNIST_FILES. TensorFlow gets a separate environment.
export MNIST_FILES ?= $(TFDS_DATA_DIR)/downloads/manual
test-prepare: .venv-prepare/.installed
	.venv-prepare/bin/python -m pytest tests/preparation

# Compiles for GPUs and TPUs. Their compilers, 2 GB, get a separate environment.
test-accelerators: .venv-accelerators/.installed
	.venv-accelerators/bin/python -m pytest tests/accelerators --numprocesses auto --maxprocesses 4

# The browser in which tests open a report: 67 MB from npm. Without it, those tests are skipped with a message.
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

.venv-accelerators/.installed: setup.cfg $(CONSTRAINTS)
	$(PYTHON) -m venv .venv-accelerators
	.venv-accelerators/bin/python $(INSTALL) --editable '.[demo,test,tpu,gpu-compiler]'
	touch $@

clean:
	rm -rf .venv .venv-prepare .venv-accelerators build *.egg-info .pytest_cache .mypy_cache .ruff_cache
