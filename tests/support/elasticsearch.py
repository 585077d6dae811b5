"""A real Elasticsearch for tests and the benchmark, started from plain jars.

``python -m tests.support.elasticsearch`` runs one in the foreground and prints
its URL. The jars come by Maven once and are kept outside the tree, in
``VNA_SERVICES_CACHE`` or ``~/.cache/vna-services``. With
``VNA_TEST_ELASTICSEARCH_URL`` set, tests use that server and start none.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

RECIPE = Path(__file__).with_name("elasticsearch")
MINIMUM_JDK = 21
PLUGIN = "transport-netty4"
START_SECONDS = 180
LOG_TAIL = 40
HOME_PREFIX = "vna-elasticsearch-"
ROOM_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class ElasticsearchServer:
    """A running server."""

    url: str
    log: Path
    pid: int


def services_cache() -> Path:
    return Path(os.environ.get("VNA_SERVICES_CACHE") or Path.home() / ".cache" / "vna-services")


def find_jdk() -> Path:
    """Return the newest JDK that can run the server: ``JAVA_HOME``, or one below /usr/lib/jvm."""
    homes = [Path(home) for home in [os.environ.get("JAVA_HOME", "")] if home]
    homes += sorted(Path("/usr/lib/jvm").glob("*"))
    found: dict[int, Path] = {}
    for home in homes:
        if (home / "bin" / "javac").is_file() and (version := _jdk_version(home)) >= MINIMUM_JDK:
            found.setdefault(version, home)
    if not found:
        message = (
            f"no JDK {MINIMUM_JDK} or newer in JAVA_HOME or /usr/lib/jvm; install one (for example temurin-25-jdk)"
        )
        raise RuntimeError(message)
    return found[max(found)]


def _jdk_version(home: Path) -> int:
    try:
        text = (home / "release").read_text(encoding="utf-8")
    except OSError:
        return 0
    match = re.search(r'JAVA_VERSION="(\d+)', text)
    return int(match.group(1)) if match else 0


def build() -> Path:
    """Fetch the jars and compile the launcher, unless that was done; safe for several builders at once."""
    recipe = b"".join((RECIPE / name).read_bytes() for name in ("pom.xml", "Launch.java"))
    root = services_cache() / "elasticsearch"
    root.mkdir(parents=True, exist_ok=True)
    built = root / hashlib.sha256(recipe).hexdigest()[:16]
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.is_dir():
            with tempfile.TemporaryDirectory(dir=root) as scratch:
                made = Path(scratch) / "made"
                _build_into(made)
                made.rename(built)
    return built


def _build_into(made: Path) -> None:
    lib, module, classes = made / "lib", made / "modules" / PLUGIN, made / "cls"
    for folder in (lib, module, classes):
        folder.mkdir(parents=True)
    copy = ["dependency:copy-dependencies", f"-DoutputDirectory={lib}", f"-DbuildDirectory={made / 'target'}"]
    _run(["mvn", "-q", "-B", "-f", str(RECIPE / "pom.xml"), *copy])
    shutil.rmtree(made / "target", ignore_errors=True)
    for jar in [*lib.glob("netty-*.jar"), *lib.glob(f"{PLUGIN}-*.jar")]:
        jar.rename(module / jar.name)
    [plugin] = module.glob(f"{PLUGIN}-*.jar")
    with zipfile.ZipFile(plugin) as jar_file:
        descriptor = jar_file.read(f"META-INF/es-plugins/{PLUGIN}/plugin-descriptor.properties")
    (module / "plugin-descriptor.properties").write_bytes(descriptor)
    javac = str(find_jdk() / "bin" / "javac")
    _run([javac, "-nowarn", "-cp", f"{lib}/*", "-d", str(classes), str(RECIPE / "Launch.java")])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        message = f"{' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        raise RuntimeError(message)


@contextmanager
def start_elasticsearch(heap: str = "768m", port: int = 0, folder: Path | None = None) -> Iterator[ElasticsearchServer]:
    """Start a server of its own in a temporary folder, wait until it is healthy, and stop it at the end.

    ``folder`` is where the temporary folder is made.

    Raises
    ------
    RuntimeError
        With the end of the server's log, if it does not start.
    """
    built = build()
    folder = folder or Path(tempfile.gettempdir())
    _sweep(folder)
    home = Path(tempfile.mkdtemp(prefix=f"{HOME_PREFIX}{os.getpid()}-", dir=folder))
    try:
        for name in ("config", "data", "logs", "plugins"):
            (home / name).mkdir()
        shutil.copytree(built / "modules", home / "modules")
        log = home / "server.log"
        command = [
            str(find_jdk() / "bin" / "java"),
            f"-Xms{heap}",
            f"-Xmx{heap}",
            "-XX:+UseSerialGC",
            "--enable-native-access=ALL-UNNAMED",
            f"-Djava.io.tmpdir={home}",
            *("-p", str(built / "lib"), "--add-modules", "jdk.net,ALL-MODULE-PATH"),
            *("-cp", str(built / "cls"), "Launch", str(home), str(port)),
        ]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, cwd=home
            )
        try:
            yield _wait(process, log)
        finally:
            _stop(process)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove the folders of servers whose starter was killed; the servers ended with it."""
    for home in folder.glob(f"{HOME_PREFIX}*-*"):
        starter = home.name.removeprefix(HOME_PREFIX).split("-")[0]
        if starter.isdecimal() and not psutil.pid_exists(int(starter)):
            shutil.rmtree(home, ignore_errors=True)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _wait(process: subprocess.Popen[bytes], log: Path) -> ElasticsearchServer:
    deadline = time.monotonic() + START_SECONDS
    url = ""
    while time.monotonic() < deadline and process.poll() is None:
        started = re.search(r"^STARTED (\d+)$", log.read_text(errors="replace"), re.MULTILINE)
        if started:
            url = f"http://127.0.0.1:{started.group(1)}"
            if _healthy(url):
                return ElasticsearchServer(url, log, process.pid)
        time.sleep(0.2)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL:])
    how = f"exited with {process.returncode}" if process.poll() is not None else f"not healthy in {START_SECONDS} s"
    message = f"Elasticsearch did not start ({how}, {url or 'no port'}). End of its log:\n{tail}"
    raise RuntimeError(message)


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/_cluster/health?wait_for_status=yellow&timeout=5s", timeout=10) as answer:
            return json.load(answer)["status"] in ("yellow", "green")
    except (urllib.error.URLError, OSError, ValueError):
        return False


@pytest.fixture(scope="session")
def elasticsearch_url() -> Iterator[str]:
    """URL of an Elasticsearch: the one of ``VNA_TEST_ELASTICSEARCH_URL``, or one started for this session."""
    given = os.environ.get("VNA_TEST_ELASTICSEARCH_URL", "")
    if given:
        yield given
        return
    with start_elasticsearch(folder=_memory()) as server:
        yield server.url


def drop_indices(url: str, prefix: str) -> None:
    """Delete the indices of a test, so that the server does not slow down from one test to the next."""
    with urllib.request.urlopen(f"{url}/_cat/indices/{prefix}-*?h=index", timeout=30) as answer:
        names = answer.read().decode().split()
    if names:
        request = urllib.request.Request(f"{url}/{','.join(names)}?ignore_unavailable=true", method="DELETE")
        with urllib.request.urlopen(request, timeout=60):
            pass


def _memory() -> Path | None:
    """Return a folder in memory with room: each test makes indices, and each index is fsynced many times."""
    folder = Path("/dev/shm")
    room = folder.is_dir() and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > ROOM_BYTES
    return folder if room else None


def main() -> None:
    """Run a server until interrupted."""
    parser = argparse.ArgumentParser(description="Run an Elasticsearch for development and print its URL.")
    parser.add_argument("--heap", default="1g", help="heap of the server (default %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: any free one)")
    parser.add_argument("--install", action="store_true", help="build what is missing, and run nothing")
    given = parser.parse_args()
    if given.install:
        print(build())
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the server's folder goes with it
    try:
        with start_elasticsearch(given.heap, given.port) as server:
            print(server.url, flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print("stopped")


if __name__ == "__main__":
    main()
