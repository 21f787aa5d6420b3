# Everything from a fresh machine: `make demo` and `make test` set up their own environment below .tools and .venv.

UV_VERSION := 0.13.9
# Called by path: where pyenv's .python-version hides the interpreter that holds it, a uv on PATH is not found.
UV := .tools/uv/bin/uv
PYTHON := .venv/bin/python
export TF_CPP_MIN_LOG_LEVEL ?= 3
export UV_COMPILE_BYTECODE := 1
export UV_PROJECT_ENVIRONMENT := .venv

.PHONY: demo test lint bench bench-engine peers environment clean

demo: environment
	$(PYTHON) -W ignore pipelines/chicago_taxi/demo.py --output build/demo

test: environment
	UV=$(abspath $(UV)) PYTHON=$(abspath $(PYTHON)) tests/run_layers.sh

lint: environment
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: bench-engine
	$(PYTHON) -W ignore -m benchmarks.sanity
	$(PYTHON) -W ignore -m benchmarks.job
	$(PYTHON) -W ignore -m benchmarks.job --hidden 256,256,256 --slices 50 --output benchmarks/results/job_medium.json
	$(PYTHON) -W ignore -m benchmarks.job --hidden 256,256,256 --slices 50 --permutations 10 --repeats 1 \
		--output benchmarks/results/job_permutations.json
	$(PYTHON) -W ignore -m benchmarks.job_by_model
	$(PYTHON) -W ignore -m benchmarks.forecast
	$(PYTHON) -W ignore -m benchmarks.permutation
	$(PYTHON) -W ignore -m benchmarks.permutation_by_model
	$(PYTHON) -W ignore benchmarks/aggregation.py
	$(PYTHON) -W ignore benchmarks/memory.py
	@echo "results: benchmarks/results/"

# Peers get environments of their own below build/peers, kept between runs.
bench-engine: environment
	$(PYTHON) -W ignore -m benchmarks.engine

peers: environment
	$(PYTHON) -W ignore -m benchmarks.engine --rows 10240 --output build/peers

environment: .venv/.complete

.venv/.complete: $(UV) pyproject.toml uv.lock .python-version
	$(UV) sync --quiet --frozen --all-extras
	touch $@

# Debian splits venv from Python: where it is missing, pip alone does.
$(UV):
	rm -rf .tools/uv
	python3 -m venv .tools/uv && .tools/uv/bin/python -m pip install --quiet uv==$(UV_VERSION) \
		|| { rm -rf .tools/uv && python3 -m pip install --quiet --target .tools/uv uv==$(UV_VERSION); }

clean:
	rm -rf build dist .venv .tools .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
