"""Debian's web programs as peers and instruments: nginx that redirects, HAProxy before nodes, `wrk` that asks."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local import debian
from deploy.local.child import Child
from deploy.local.ports import LOOPBACK, free_port, is_free

#: What a browser sends.
_FIELDS = {
    "Host": "lists.bench.test",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "de,en-US;q=0.7,en;q=0.3",
    "Accept-Encoding": "gzip, deflate, br",
}
_NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/body;
    server {{
        listen {address}:{port};
        location / {{ return 302 https://shop.example/offer; }}
    }}
}}
"""
_HAPROXY = """\
global
    maxconn 8192
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    timeout http-request 10s
frontend readers
    bind {address}:{port}
    option forwardfor
    default_backend tracking
backend tracking
    balance roundrobin
{servers}
"""
# Each connection waits before each request for 0 to twice `wait` milliseconds.
_SCRIPT = """\
local requests, at, wait = {{}}, 0, {wait}
function init(args)
    math.randomseed(os.time())
    for path in io.lines("{paths}") do requests[#requests + 1] = wrk.format("GET", path) end
    at = math.random(#requests)
end
function request()
    at = at % #requests + 1
    return requests[at]
end
{delay}
function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format("found %d %d %.0f %.0f %.0f\\n", summary.requests,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout,
        summary.duration, latency.mean, latency:percentile(99)))
end
"""
_DELAY = "function delay() return math.random(0, 2 * wait) end"


class AnswersMissingError(Exception):
    """Some requests were answered with an error, or not at all."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What some seconds of requests came to."""

    answers: int
    seconds: float
    mean_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        return self.answers / self.seconds


class Asker:
    """`wrk`, on a core, with requests for some paths in turn on kept connections."""

    def __init__(self, folder: Path, paths: Sequence[str], *, core: int) -> None:
        """Raises NotInstalledError."""
        self._program = debian.find_or_install("wrk", "wrk")
        self._folder, self._core = folder, core
        self._paths = folder / "paths"
        self._paths.write_text("".join(f"{path}\n" for path in paths))

    def follow_one(self, port: int) -> None:
        """One request, which may take a while. Raises OSError."""
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", self._paths.read_text().split()[0], headers=_FIELDS)
            connection.getresponse().read()

    def ask(self, port: int, *, connections: int, seconds: int, wait_ms: int = 0) -> Asked:
        """As fast as answers come, or after a wait of so many milliseconds on average. Raises AnswersMissingError."""
        script = self._folder / "requests.lua"
        delay = _DELAY if wait_ms else ""
        script.write_text(_SCRIPT.format(paths=self._paths, wait=wait_ms, delay=delay))
        fields = [part for name, value in _FIELDS.items() for part in ("-H", f"{name}: {value}")]
        shape = ["-t", "1", "--timeout", "20s", "-c", str(connections), "-d", f"{seconds}s", "-s", str(script), *fields]
        pinned = ["taskset", "-c", str(self._core)]
        ran = subprocess.run(
            [*pinned, self._program, *shape, f"http://{LOOPBACK}:{port}/"], capture_output=True, text=True, check=True
        )
        found = next(line.split()[1:] for line in ran.stdout.splitlines() if line.startswith("found "))
        answers, errors, *times = map(float, found)
        if errors or not answers:
            raise AnswersMissingError(ran.stdout)
        duration_us, mean_us, p99_us = times
        return Asked(int(answers), duration_us / 1e6, mean_us / 1e3, p99_us / 1e3)


@contextmanager
def running_nginx(folder: Path) -> Iterator[tuple[Child, int]]:
    """One worker that answers everything with a plain 302, and its port. Raises NotInstalledError."""
    program, port = debian.find_or_install("nginx", "nginx"), free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(_NGINX.format(folder=folder, address=LOOPBACK, port=port))
    with _running(Child("nginx", [program, "-c", configuration], folder / "nginx.log"), port) as child:
        yield child, port


@contextmanager
def running_haproxy(folder: Path, ports: Sequence[int]) -> Iterator[int]:
    """Before servers at these ports, which get requests in turn; its port. Raises NotInstalledError."""
    program, port = debian.find_or_install("haproxy", "haproxy"), free_port()
    configuration = folder / f"haproxy-{port}.cfg"
    servers = "\n".join(f"    server node{number} {LOOPBACK}:{each}" for number, each in enumerate(ports))
    configuration.write_text(_HAPROXY.format(address=LOOPBACK, port=port, servers=servers))
    with _running(Child("haproxy", [program, "-f", configuration], folder / f"haproxy-{port}.log"), port):
        yield port


@contextmanager
def _running(child: Child, port: int) -> Iterator[Child]:
    child.start()
    try:
        child.wait_until(lambda: not is_free(port), 10)
        yield child
    finally:
        child.stop()
