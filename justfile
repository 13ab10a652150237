# What runs where: recipes take the tools from the active environment, or from .venv if there is one.
export PATH := justfile_directory() / ".venv/bin:" + env("PATH")

# List the recipes
default:
    @just --list

# Index the travel company's documents, change them while the flow runs, and show what came of it
demo *ARGS:
    python -m fixtures.demo {{ARGS}}

# Run everything on real servers, in temporary folders, until Ctrl-C: type an UPDATE into psql, see it in the context
[no-exit-message]
live *ARGS:
    python -m fixtures.live {{ARGS}}

# Run the tests, each file by one of up to four processes
test *ARGS:
    python -m pytest -m "not long" -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder {{ARGS}}

# Run the property tests with many more examples, and what else takes long
test-long *ARGS:
    HYPOTHESIS_PROFILE=long python -m pytest {{ARGS}}

# Check style and types
lint:
    ruff check .
    ruff format --check .
    mypy

# Put the code into its format
format:
    ruff check --fix .
    ruff format .

# Exactly what decides whether a change lands
ci:
    bash .ci/run

# Run a flow live: `just run knowledge --folder docs`
run FLOW *ARGS:
    headrace run {{FLOW}} {{ARGS}}

# Run a flow over recorded streams to their end: `just replay knowledge fixtures/streams`
replay FLOW FIXTURE *ARGS:
    headrace replay {{FLOW}} {{FIXTURE}} {{ARGS}}

# Run a benchmark: `just bench knowledge`
bench NAME *ARGS:
    python -m benchmarks.{{NAME}} {{ARGS}}

# Open the notebook over KPIs: `just notebook`, after `pip install -e ".[notebook]"`
notebook:
    marimo edit docs/kpis.py

# Record the fixtures again, from their sources
record *ARGS:
    python -m fixtures.record {{ARGS}}

# Draw the flows' picture into the README again
picture:
    python -m dataflows.picture

# Remove what the tools and the demo have left; your data in .headrace stays
clean:
    rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
    find . -name __pycache__ -not -path "./.venv*" -prune -exec rm -rf {} +
