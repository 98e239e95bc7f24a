"""`python -m services.ingress_smtp`: takes list mail in by SMTP."""

from __future__ import annotations

from services.ingress_smtp.settings import IngressSettings
from services.ingress_smtp.wiring import build
from shared.runtime.lifecycle import run

if __name__ == "__main__":
    run("ingress", IngressSettings, build)
