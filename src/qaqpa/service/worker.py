"""What each worker process of `qaqpa serve` runs; the environment says where the configuration is."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from fastapi import FastAPI

from qaqpa import log, memory, traces
from qaqpa.gateway import load_setup
from qaqpa.service.app import make_app

CONFIG, HOME = "QAQPA_CONFIG", "QAQPA_HOME"


def app() -> FastAPI:
    """The application on the configuration that QAQPA_CONFIG and QAQPA_HOME name; it logs as QAQPA_LOG says."""
    memory.settle()
    log.configure(level=log.LEVELS[os.environ.get(log.LEVEL, "info")])
    logging.captureWarnings(True)
    traces.start()
    return make_app(load_setup(Path(os.environ[CONFIG]), home=Path(os.environ[HOME])))
