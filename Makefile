# Four commands and their long forms. Each is a script that also works without make.
.DEFAULT_GOAL := help
.PHONY: help run check test bench proof lock

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST)

run: ## Start the hub on http://127.0.0.1:8400
	@scripts/run.sh

test: ## Run the tests (less than eight minutes)
	@scripts/test.sh

check: ## Check style, types, the ladder and the generated documents
	@scripts/check.sh

bench: ## Measure the hub on this machine
	@scripts/bench.sh

proof: ## Run the tests at 100 times their size, with logs
	@scripts/proof.sh

lock: ## Resolve the requirements again
	@scripts/lock.sh
