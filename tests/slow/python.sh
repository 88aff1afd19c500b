#!/bin/sh
# Runs the Python that PYTHON names.
exec "${PYTHON:-python3}" "$@"
