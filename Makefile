# The bundle's commands; `make help` lists them. Ports and folders can be given: make run HTTP_PORT=8043 DICOM_PORT=4243 STORAGE=/tmp/x
SHELL := /bin/bash
HTTP_PORT ?= 8042
DICOM_PORT ?= 4242
STORAGE ?= var/run/storage
RUN_ONCE ?=
PYTEST_ARGUMENTS ?=
BENCH_ARGUMENTS ?=
FUZZ_ARGUMENTS ?=
FUZZER ?=
PYTHON ?=
PREFIX ?= /usr/share/orthanc/ingest-bundle
DESTDIR ?=
CONFIGURE ?=

.PHONY: $(shell sed -nE 's/^([a-z-]+):.*/\1/p' $(firstword $(MAKEFILE_LIST)))

help:  ## list these targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup:  ## install Debian's packages and the environment that Orthanc loads (env/)
	@scripts/setup

setup-dev:  ## the same, and the tools of tests and linting (.venv/)
	@scripts/setup dev

run: setup  ## start Orthanc with the bundle, store a study, show the stages, delete it; serves until Ctrl-C (RUN_ONCE=1 ends after the job)
	@RUN_ONCE=$(RUN_ONCE) env/bin/python -m harness.demo --http-port $(HTTP_PORT) --dicom-port $(DICOM_PORT) --storage "$(STORAGE)"

test: setup-dev lint  ## lint, then every test: unit, integration against a real Orthanc, fault
	@.venv/bin/python -m pytest $(PYTEST_ARGUMENTS)

test-unit: setup-dev  ## the tests that need no Orthanc
	@.venv/bin/python -m pytest tests/unit $(PYTEST_ARGUMENTS)

test-next:  ## `make test` of HEAD in a bare Debian testing (forky), as root; a moving target, so no part of .ci/run
	@CI=true scripts/bare-debian forky 'make test PYTEST_ARGUMENTS="$(PYTEST_ARGUMENTS)"'

bench: setup-dev  ## ingest and deletion, the tables of Orthanc's published benchmark, native and bundle side by side (hours; Ctrl-C and again goes on)
	@.venv/bin/python -m bench ingest $(BENCH_ARGUMENTS)

bench-quick: setup-dev  ## a little of the same, one round, about a minute
	@.venv/bin/python -m bench ingest --quick $(BENCH_ARGUMENTS)

bench-associations: setup-dev  ## C-STORE native and tuned: three senders x 1 to 16 over loopback and MTU 1500; Orthanc to Orthanc; TLS; TCP_BUFFER_LENGTH
	@.venv/bin/python -m bench associations $(BENCH_ARGUMENTS)

bench-deletion: setup-dev  ## DELETE, draining and ingest beside them, against native Orthanc (BENCH_ARGUMENTS="--steps drain" or --quick)
	@.venv/bin/python -m bench deletion $(BENCH_ARGUMENTS)

bench-memory: setup-dev  ## resident memory after 50 uploads of 50 MB at once: MallocArenaMax and malloc_trim (about 2 minutes)
	@.venv/bin/python -m bench memory $(BENCH_ARGUMENTS)

bench-transcoding: setup-dev  ## transcoding on ingest, Orthanc's own (DCMTK, GDCM) and ours, 1 to 16 clients (about 10 minutes; BENCH_ARGUMENTS=--quick: 3)
	@.venv/bin/python -m bench transcoding $(BENCH_ARGUMENTS)

fuzz: setup-dev  ## mutated files through guard and transcoder for ten minutes (FUZZ_ARGUMENTS="--minutes 60 --seed 7"; FUZZER=atheris: guided by coverage)
	@[ -z "$(FUZZER)" ] || [ -d var/$(FUZZER)/$(FUZZER) ] || .venv/bin/python -m pip install -q --only-binary :all: --target var/$(FUZZER) -r requirements/$(FUZZER).txt
	@PYTHONPATH=var/$(FUZZER) .venv/bin/python -m tests.support.fuzz$(addprefix _,$(FUZZER)) $(FUZZ_ARGUMENTS)

lint: setup-dev  ## ruff, mypy --strict, and which way imports run
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports --no-cache

format: setup-dev  ## let ruff lay out the code
	@.venv/bin/ruff check --fix . ; .venv/bin/ruff format .

docs: setup-dev  ## write the tables of configuration keys into docs/configuration.md from the code
	@.venv/bin/python -m release.document

screenshot: setup-dev  ## docs/images/operators-page.png, from a real Orthanc and Chromium
	@.venv/bin/python -m release.screenshot

lock:  ## write this machine's lock file anew from requirements/*.in, or its first
	@scripts/lock

bundle: setup  ## dist/orthanc-ingest-bundle-VERSION-pyXY.tar.gz for this Python; PYTHON="3.11 3.13" names others, whose wheels pip fetches
	@env/bin/python -m release.packing $(addprefix --python ,$(PYTHON))

install: bundle  ## unpack the bundle into PREFIX and say what to add to /etc/orthanc; CONFIGURE=/etc/orthanc adds it; DESTDIR for packagers
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && tar -xzf "$$(env/bin/python -m release.packing --name)" -C "$$folder" --strip-components 1 && \
	  PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" CONFIGURE="$(CONFIGURE)" "$$folder/install.sh" install

uninstall:  ## take away what install has put into PREFIX, and nothing else; CONFIGURE as there
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" CONFIGURE="$(CONFIGURE)" ./install.sh uninstall

clean:  ## remove what make has made
	rm -rf env .venv var dist
