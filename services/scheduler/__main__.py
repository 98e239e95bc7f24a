"""`python -m services.scheduler`"""

from services.scheduler.settings import SchedulerSettings
from services.scheduler.wiring import build
from shared.runtime.lifecycle import run

if __name__ == "__main__":
    run("scheduler", SchedulerSettings, build)
