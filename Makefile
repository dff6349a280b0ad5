# Works with GNU make 3.81 (macOS) and any POSIX shell. Start with: make help

# An active environment is used as it is; otherwise .venv is made. Conda's base environment does not count.
ifneq ($(VIRTUAL_ENV),)
ENV := $(VIRTUAL_ENV)
else ifneq ($(filter-out base,$(CONDA_DEFAULT_ENV)),)
ENV := $(CONDA_PREFIX)
else
ENV := $(CURDIR)/.venv
endif
BIN := $(ENV)/bin

# What the environment has to hold, and for which checkout: written into it once installed.
INSTALLED := $(CURDIR) $(shell cat pyproject.toml constraints.txt | cksum)

DATABASES := data/synth-ck data/synth-oulu
PREPARED := $(DATABASES:=/database.json)
NOTEBOOKS := $(wildcard book/*.ipynb)
BENCHMARKS := $(filter-out measure,$(basename $(notdir $(wildcard benchmarks/*.py))))
PAGES := $(shell find book -type f ! -path '*/.ipynb_checkpoints/*') _config.yml _toc.yml
PORT ?= 8000

.PHONY: help book test test-quick lint serve notebooks student slides dist lighthouse start models sheets sweep leak inside bench clean \
    environment always
.DELETE_ON_ERROR:

help:
	@echo 'make book        build the book: environment, databases, notebooks, pages'
	@echo 'make serve       the same, then show it at http://127.0.0.1:$(PORT)/ (PORT=... for another)'
	@echo 'make test        everything CI checks: lint, all tests, the book, every notebook cell'
	@echo 'make test-quick  lint and unit tests'
	@echo 'make notebooks   run the notebooks and save them with their new outputs'
	@echo 'make student     notebooks without the answers, in student/, to hand out'
	@echo 'make slides      slides of the chapters, in _build/slides; no network needed to show them'
	@echo 'make dist        a wheel and a zip of the rendered book, in _build/dist'
	@echo 'make lighthouse  what Lighthouse says of the pages, into results/lighthouse.csv'
	@echo 'make sheets      draw contact sheets of the synthetic faces into _build/sheets'
	@echo 'make start       pre-train the extractors of the preset laptop again (5 minutes)'
	@echo 'make models      train the three models that come with the package again (9 minutes)'
	@echo 'make sweep       the entanglement sweep: two variants at each position of the dial, three seeds (three hours)'
	@echo 'make leak        EFN on random folds of frames, for chapter 2 (7 minutes)'
	@echo 'make inside      four more trainings of each variant, and what they are like inside, for chapter 10 (40 minutes)'
	@echo 'make bench       run the benchmarks'
	@echo 'make clean       remove what make built; keeps .venv, runs/ and your own databases'

book: _build/book.stamp
	@echo 'The book: file://$(CURDIR)/_build/html/book/intro.html'

# One thread a test process: two of two threads each, on two cores, take three times as long.
test: lint book
	OMP_NUM_THREADS=1 "$(BIN)/python" -m pytest -n auto
	$(if $(NOTEBOOKS),OMP_NUM_THREADS=1 "$(BIN)/python" -m pytest --nbval --nbval-sanitize-with book/sanitize.cfg --nbval-cell-timeout=120 -n 2 --dist loadscope $(NOTEBOOKS))

test-quick: lint
	OMP_NUM_THREADS=1 "$(BIN)/python" -m pytest -n auto -m 'not slow and not browser'

lint: environment
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .

serve: book
	@echo 'http://127.0.0.1:$(PORT)/ until Ctrl-C'
	@"$(BIN)/python" -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

# Without the time each cell took, which would change at every run.
notebooks: $(PREPARED) | environment
	"$(BIN)/python" book/editions.py setup
	"$(BIN)/jupyter" nbconvert --to notebook --inplace --execute --ExecutePreprocessor.timeout=300 \
	    --ExecutePreprocessor.record_timing=False $(NOTEBOOKS)

# Beside book/, so that the notebooks find data/ and results/.
student: | environment
	"$(BIN)/python" book/editions.py student student

slides: | environment
	"$(BIN)/python" book/editions.py slides _build/slides
	@echo 'The slides: file://$(CURDIR)/_build/slides/index.html'

dist: book
	@rm -rf build # or what is no longer in the package would still be in the wheel
	"$(BIN)/python" -m pip wheel --quiet --no-deps --wheel-dir _build/dist .
	@rm -rf build
	"$(BIN)/python" -c 'import shutil; shutil.make_archive("_build/dist/eifn-book", "zip", "_build", "html")'
	@ls -l _build/dist

lighthouse: book
	"$(BIN)/python" book/lighthouse.py

sheets: | environment
	"$(BIN)/python" -m data_prep sheets --out _build/sheets

# The weights that come with the package: see eifn/pretraining.py.
start: | environment
	"$(BIN)/python" -m data_prep synthetic --twin synth-start --entanglement 0 --out data/synth-start
	"$(BIN)/python" -m eifn.pretraining --database data/synth-start --out eifn/weights/laptop.safetensors

# The models that come with the package: see eifn/weights/README.md. In one thread, as crossval trains each fold, they
# have the same bits as those of fold 0 of results/laptop/synth-ck had.
models: $(PREPARED) | environment
	for variant in efn eifn-star eifn; do \
	    OMP_NUM_THREADS=1 "$(BIN)/eifn" train --database data/synth-ck --fold 0 --precision bf16-mixed --variant $$variant \
	        --out eifn/weights/$$variant.safetensors || exit 1; done

# Both twins are drawn anew at each position. That in the middle is results/laptop/synth-ck.
sweep: | environment
	for dial in 0 0.25 0.75 1; do \
	    for twin in synth-ck synth-oulu; do \
	        "$(BIN)/python" -m data_prep synthetic --twin $$twin --entanglement $$dial \
	            --out data/entanglement-$$dial/$$twin || exit 1; done; \
	    for seed in 0 1 2; do \
	        "$(BIN)/eifn" crossval --database data/entanglement-$$dial/synth-ck --precision bf16-mixed \
	            --variant efn,eifn --seed $$seed --out runs/entanglement-$$dial || exit 1; done; done

# Every frame a person of its own: the protocol, unchanged, then splits frames at random.
leak: $(PREPARED) | environment
	"$(BIN)/python" -m data_prep leak --database data/synth-ck --out data/leak/synth-ck
	"$(BIN)/eifn" crossval --database data/leak/synth-ck --stage-one data/synth-oulu --precision bf16-mixed \
	    --variant efn --out runs/leak

# The names say the seed; that of the three that come with the package is 0.
inside: $(PREPARED) | environment
	for seed in 1 2 3 4; do \
	    for variant in efn eifn-star eifn; do \
	        OMP_NUM_THREADS=1 "$(BIN)/eifn" train --database data/synth-ck --fold 0 --precision bf16-mixed --seed $$seed \
	            --variant $$variant --out runs/inside/$$variant-$$seed.safetensors || exit 1; done; done
	"$(BIN)/python" -m benchmarks.inside eifn/weights/efn.safetensors eifn/weights/eifn-star.safetensors \
	    eifn/weights/eifn.safetensors runs/inside/*.safetensors --json > runs/inside.json
	mv runs/inside.json results/

bench: environment
	@for name in $(BENCHMARKS); do echo "== $$name"; "$(BIN)/python" -m benchmarks.$$name || exit 1; done

clean:
	rm -rf _build $(DATABASES) .pytest_cache .ruff_cache
	find benchmarks book data_prep eifn tests -name __pycache__ -prune -exec rm -rf {} +

environment:
	@test -x "$(BIN)/python" || { \
	    for python in python3 python3.13 python3.12 python3.11; do \
	        "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	        echo "Making .venv with $$python"; \
	        "$$python" -m venv "$(ENV)" && exit 0; \
	        rm -rf "$(ENV)"; exit 1; \
	    done; \
	    echo 'Python 3.11 or newer is needed and none was found; get one from https://www.python.org/' >&2; exit 1; }
	@"$(BIN)/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo 'The active environment, $(ENV), is older than Python 3.11; deactivate it' >&2; exit 1; }
	@test "$$(cat "$(ENV)/.eifn" 2>/dev/null)" = '$(INSTALLED)' || { \
	    "$(BIN)/python" -m pip install -c constraints.txt -e '.[book,test]' && echo '$(INSTALLED)' > "$(ENV)/.eifn"; }

$(PREPARED): $(wildcard data_prep/*.py data_prep/synthetic/*.py) eifn/database.py | environment
	"$(BIN)/python" -m data_prep synthetic --twin $(notdir $(@D)) --out $(@D)

# jupyter-cache knows a notebook by its text alone. What else its outputs depend on is listed with checksums in
# _build/inputs; when that list changes, the cached outputs and the parsed pages go.
_build/inputs: $(PREPARED) always | environment
	@mkdir -p _build
	@find eifn data_prep constraints.txt $(PREPARED) -type f ! -path '*/__pycache__/*' \
	    | LC_ALL=C sort | xargs cksum > $@.new
	@cmp -s $@.new $@ || { rm -rf _build/.jupyter_cache _build/.doctrees; mv $@.new $@; }

# Pages that were parsed in a build that failed would not be parsed, nor warned about, in the next one.
_build/book.stamp: $(PAGES) _build/inputs
	"$(BIN)/jupyter-book" build . --all -W -n --keep-going || { rm -rf _build/.doctrees; exit 1; }
	@touch $@
