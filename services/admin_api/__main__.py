"""`python -m services.admin_api`: the operator's API, and its documentation at `/docs`."""

from __future__ import annotations

from services.admin_api.settings import AdminSettings
from services.admin_api.wiring import build
from shared.runtime.lifecycle import run

if __name__ == "__main__":
    run("admin", AdminSettings, build)
