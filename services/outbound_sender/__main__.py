"""`python -m services.outbound_sender`"""

from services.outbound_sender.settings import OutboundSettings
from services.outbound_sender.wiring import build
from shared.runtime.lifecycle import run

if __name__ == "__main__":
    run("outbound_sender", OutboundSettings, build)
