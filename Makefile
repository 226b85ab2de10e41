# Every step that CI or a person runs is a target here; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV = $(shell dev/python.sh)
export PYTHONPATH := engine:operator:csi:cli:dev
PYTHON = $(VENV)/bin/python
PYTEST = $(PYTHON) -m pytest
# The tiers that need root start with a check that says in one line what is missing.
PREREQUISITES = $(PYTHON) -m mooring_dev prerequisites

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 22

.PHONY: lint
lint: ## Check format, style, types, import rules and generated files
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	MYPYPATH=$(PYTHONPATH) $(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(MAKE) --no-print-directory check-generated

.PHONY: format
format: ## Format the code
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

.PHONY: generate
generate: ## Write the generated files: stubs, CRDs, reference pages
	csi/proto/generate.sh $(PYTHON)
	$(PYTHON) -m mooring.api.generate

.PHONY: check-generated
check-generated: ## Compare the generated files with their sources
	@$(MAKE) --no-print-directory generate
	@git diff --exit-code -- '*/_generated/*' deploy/manifests/crds docs/reference || \
		{ echo "generated files differ from their sources: run 'make generate' and commit"; exit 1; }

.PHONY: test
test: toolchain lint test-unit test-contract ## Run every tier, as CI does
	@# The cluster mostly waits, so the tier of loop devices and mounts runs beside it.
	$(MAKE) --no-print-directory --jobs=2 --output-sync=line test-system test-cluster

.PHONY: test-unit
test-unit: ## Pure tests: no root, seconds
	$(PYTEST) tests/unit -n auto --dist worksteal

.PHONY: test-contract
test-contract: ## Each port's suite over each adapter
	$(PYTEST) tests/contract

.PHONY: test-system
test-system: ## Root: loop devices, mounts, csi-sanity
	$(PYTEST) tests/system
	MOORING_FAULT_POINTS=1 $(PYTEST) tests/faults

.PHONY: test-cluster
test-cluster: ## A real Kubernetes with two nodes
	$(PYTEST) tests/cluster

.PHONY: test-faults
test-faults: prerequisites ## Break off each storage operation at every system call (test-system: at one call each)
	$(PYTEST) tests/faults

.PHONY: soak
soak: toolchain ## 100 rounds of everything, with every process killed at random (about 65 min; seed printed)
	MOORING_SOAK_ROUNDS=100 $(PYTEST) -s tests/cluster/test_soak.py

.PHONY: prerequisites
prerequisites: ## Check the machine and install missing Debian packages
	$(PREREQUISITES)

.PHONY: toolchain
toolchain: prerequisites ## Build Kubernetes and the other tools (cold: about 15 min)
	$(PYTHON) -m mooring_dev toolchain

.PHONY: cluster-up
cluster-up: toolchain ## Start the development cluster
	$(PYTHON) -m mooring_dev cluster up

.PHONY: cluster-down
cluster-down: ## Stop the development cluster and tidy all it made
	$(PYTHON) -m mooring_dev cluster down

.PHONY: cluster-status
cluster-status: ## Show which machines of the cluster run
	$(PYTHON) -m mooring_dev cluster status

.PHONY: kubectl-alias
kubectl-alias: ## Print an alias of kubectl for the development cluster
	@echo "alias kubectl='$$($(PYTHON) -m mooring_dev tool-path kubectl) --kubeconfig=$$($(PYTHON) -m mooring_dev cluster kubeconfig)'"

.PHONY: images
images: toolchain ## Build the product's image and the others, and load them into the running cluster
	$(PYTHON) -m mooring_dev images load

.PHONY: demo
demo: toolchain ## Tell the whole story on a real cluster, each step checked
	$(PYTHON) -m mooring_dev.demo

.PHONY: demo-dr
demo-dr: toolchain ## Lose a whole cluster with its disks, and recover into a new one, each step checked
	$(PYTHON) -m mooring_dev.demo.disaster

.PHONY: csi-sanity
csi-sanity: toolchain ## Run csi-sanity in every form; its report comes last
	$(PYTEST) tests/system/test_csi_sanity.py -s

.PHONY: bench-data-path
bench-data-path: prerequisites ## fio in a volume against fio on its pool; writes docs/reference/performance.md
	$(PYTHON) -m mooring_dev.bench.data_path

.PHONY: bench-provision
bench-provision: toolchain ## Apply to Ready against local-path-provisioner, CreateVolume at 1,000 / 10; writes performance.md
	$(PYTHON) -m mooring_dev.bench.provision

.PHONY: bench-defrag
bench-defrag: prerequisites ## Fsynced writes while a volume's pieces are joined, against none; writes performance.md
	$(PYTHON) -m mooring_dev.bench.defrag

.PHONY: bench-backup
bench-backup: prerequisites ## Backups and restores against restic and borg; writes docs/reference/performance.md (about 20 min)
	$(PYTHON) -m mooring_dev.bench.backup

.PHONY: bench-scale-backup
bench-scale-backup: toolchain ## Backups, collections, far stores as they grow, against themselves; writes performance.md (about 45 min)
	$(PYTHON) -m mooring_dev.bench.backup_scale
	$(PYTHON) -m mooring_dev.bench.collection
	$(PYTHON) -m mooring_dev.bench.far_store
