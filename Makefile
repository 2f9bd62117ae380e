# Two commands for a fresh machine: `make run` and `make test`. The steps are in .ci/steps; this file names them.
SHELL := /bin/bash
STEPS := .ci/steps

.PHONY: help run test test-long build image bench lock lint clean

help:            ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 20
run:             ## build everything, boot the default image in QEMU, end at its prompt
	@$(STEPS) run
test:            ## every test, with a sample of the long counts
	@$(STEPS) test
test-long:       ## every test with the full counts (hours)
	@$(STEPS) test-long
build:           ## every program into target/release/
	@$(STEPS) build
image:           ## the default image into out/qemu/
	@$(STEPS) image
bench:           ## the comparison tables (Ferrite beside Debian with systemd, PID 1 beside systemd, s6 and runit)
	@$(STEPS) bench
lock:            ## renew boards/packages.lock from the mirror
	@$(STEPS) lock
lint:            ## rustfmt and clippy
	@$(STEPS) lint
clean:           ## remove out/ and target/
	rm -rf out target
