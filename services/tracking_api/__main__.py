"""`python -m services.tracking_api`: answers what readers click."""

from __future__ import annotations

from services.tracking_api.settings import TrackingSettings
from services.tracking_api.wiring import build
from shared.runtime.lifecycle import run

if __name__ == "__main__":
    run("tracking", TrackingSettings, build)
