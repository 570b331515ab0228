# make quickstart   pretrain, evaluate, fine-tune and export on the embedded digits; ends with a table
# make test         the fast tests          make test-slow   the real commands, end to end
# make lint         formatter check, linter, types            make check   lint and test
# make format       format the code
# make faults       every fault of docs/reliability.md and 100 kills; writes what came of them there (30 minutes)
# make audit        known vulnerabilities of the pinned packages (pip-audit)
# make hashes       requirements-hashed.txt anew, for pip install --require-hashes
# make paper        docs/paper.md from the results of the paper's rows, without training
# make bench        every benchmark, ratios of one run each; JSON and a picture in runs/bench (15 minutes)
#
# PYTHON=python3.11 make test uses that interpreter as it is; otherwise .venv is made with the pinned packages.

ifdef PYTHON
RUN := $(PYTHON)
else
RUN := .venv/bin/python
INSTALLED := .venv/installed
INSTALLED_DEV := .venv/installed-dev
endif
RUNS ?= runs/digits
BENCH ?= runs/bench
BENCHMARKS := input_pipeline feed host_scaling shrink train_step scaling nt_xent optimizer startup
# a folder of photographs, and where TFDS has CIFAR-10; without them pictures are drawn, and TFDS downloads
IMAGES ?= $(wildcard ../shared/data/imagenet_sample/train)
DATA_DIR ?= $(wildcard ../shared/data/tfds)
bench-flags-input_pipeline := --images=$(IMAGES)
bench-flags-host_scaling := --images=$(IMAGES)
bench-flags-shrink := --images=$(IMAGES)
bench-flags-startup := --data_dir=$(DATA_DIR)

PAPER := table1 figure5 table2_4 table5 figure7 figure8 table3 figure9 tableB1 table6 table7 table8
comma := ,
space := $(comma:,= )

.PHONY: quickstart test test-slow lint check format paper faults audit hashes bench clean

quickstart: $(INSTALLED)
	$(RUN) -m tf_simclr.pretrain --flagfile=flags/digits/pretrain.cfg --model_dir=$(RUNS)/pretrain
	$(RUN) -m tf_simclr.linear_eval --flagfile=flags/digits/linear_eval.cfg --checkpoint=$(RUNS)/pretrain --model_dir=$(RUNS)/linear_eval
	$(RUN) -m tf_simclr.finetune --flagfile=flags/digits/finetune.cfg --checkpoint=$(RUNS)/pretrain --model_dir=$(RUNS)/finetune
	$(RUN) -m export --checkpoint=$(RUNS)/linear_eval --output_dir=$(RUNS)/export --overwrite
	$(RUN) -m tf_simclr.label_efficiency --flagfile=flags/digits/label_efficiency.cfg --checkpoint=$(RUNS)/pretrain --model_dir=$(RUNS)/label_efficiency
	@echo "reports:     $(RUNS)/*/report.html"
	@echo "SavedModels: $(RUNS)/export/encoder, projection_head, classifier"

# Two processes: most of a test's time is the tracing of graphs, which is Python on one core.
test: $(INSTALLED_DEV)
	$(RUN) -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(INSTALLED_DEV)
	$(RUN) -m pytest -m slow -n 2 --dist worksteal

lint: $(INSTALLED_DEV)
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy

check: lint test

format: $(INSTALLED_DEV)
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

faults: $(INSTALLED_DEV)
	$(RUN) -m tests.faults --kills_output=$(dir $(RUNS))kills

audit: $(INSTALLED_DEV)
	$(RUN) .ci/audit.py

hashes: $(INSTALLED_DEV)
	sh .ci/hashes $(RUN)

paper: $(INSTALLED)
	$(RUN) -m tf_simclr.reproduce --table=$(subst $(space),$(comma),$(PAPER:%=flags/paper_cpu/%)) \
	    --results=results/paper_cpu --report_only --page=docs/paper.md

bench: $(INSTALLED)
	$(foreach name,$(BENCHMARKS),$(RUN) -m benchmarks.$(name) $(bench-flags-$(name)) --json=$(BENCH)/$(name).json &&) true
	$(RUN) -m benchmarks.figure --results=$(BENCH) --output=$(BENCH)/performance.png

clean:
	rm -rf .venv .venv-newer .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/installed: requirements.txt constraints.txt pyproject.toml setup.py
	test -x .venv/bin/python || "$$(sh .ci/find_python)" -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
