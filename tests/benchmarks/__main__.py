"""``python -m tests.benchmarks``: this archive against its peers in one run, as ratios.

Sends generated CT instances with dcmsend to each server, fresh for every
measurement, and prints acknowledged instances a second, the rate at which they
became searchable, the peak memory of each process, and the time of a QIDO-RS
study search. Rounds alternate the servers; the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.benchmarks.data import write_series
from tests.benchmarks.servers import SERVERS, Server, http_json

_DCMSEND = "/usr/bin/dcmsend"


@dataclass(frozen=True)
class Setting:
    """One way to send."""

    rows: int
    count: int
    associations: int
    nagle: bool = False

    def __str__(self) -> str:
        return f"{self.rows}x{self.rows}, {self.associations} assoc.{', Nagle' if self.nagle else ''}"


SETTINGS = (
    Setting(512, 600, 1),
    Setting(512, 600, 4),
    Setting(64, 500, 1),
    Setting(64, 500, 4),
    # With Nagle some servers answer eleven a second: fewer instances tell as much.
    Setting(512, 200, 1, nagle=True),
    Setting(64, 200, 1, nagle=True),
)


@dataclass
class Result:
    """What the rounds of one server and setting gave; rates in instances a second, memory in bytes."""

    acknowledged: list[float] = field(default_factory=list)
    searchable: list[float] = field(default_factory=list)
    peaks: dict[str, int] = field(default_factory=dict)
    processor: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def warm_memory() -> None:
    """Touch the free memory once: a virtual machine pays for the first touch of each page, and not the server."""
    size = int(psutil.virtual_memory().available * 0.6)
    block = bytearray(min(size, 12 << 30))
    for offset in range(0, len(block), 4096):
        block[offset] = 1


def send(server: Server, files: list[Path], setting: Setting) -> float:
    """Send the files over some associations at once; return the seconds it took. Fails if one is not acknowledged."""
    # dcmtk's clients read it: 1 switches Nagle's algorithm off, 0 leaves it on.
    environment = os.environ | {"TCP_NODELAY": "0" if setting.nagle else "1"}
    shares = [files[number :: setting.associations] for number in range(setting.associations)]
    started = time.perf_counter()
    senders = [
        subprocess.Popen(
            [_DCMSEND, "-aec", server.called, "127.0.0.1", str(server.port), *map(str, share)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for share in shares
    ]
    for sender in senders:
        output, _ = sender.communicate(timeout=900)
        if sender.returncode:
            raise RuntimeError(f"dcmsend to {server.name} ended with {sender.returncode}:\n{output.decode()[-2000:]}")
    return time.perf_counter() - started


def measure(server: Server, files: list[Path], warm: list[Path], setting: Setting, result: Result) -> None:
    """Run one round on a fresh server that has settled and has seen a few other instances."""
    with server.running():
        server.wait_idle()
        send(server, warm, Setting(setting.rows, len(warm), 1))
        server.wait_idle()
        idle = dict(server.processor)
        client = os.times()
        before = time.perf_counter()
        seconds = send(server, files, setting)
        result.acknowledged.append(len(files) / seconds)
        if server.searchable_at_all():
            while (found := server.searchable() or 0) < len(files) + len(warm):
                if time.perf_counter() - before > 300:
                    raise RuntimeError(f"{server.name}: {found} of {len(files)} searchable after 300 s")
                time.sleep(0.05)
            result.searchable.append(len(files) / (time.perf_counter() - before))
        after = os.times()
        time.sleep(0.3)
        clients = after.children_user + after.children_system - client.children_user - client.children_system
        result.processor["dcmsend"].append(clients / len(files) * 1000)
        for label, seconds in server.processor.items():
            result.processor[label].append((seconds - idle.get(label, 0)) / len(files) * 1000)
    for label, peak in server.peaks.items():
        result.peaks[label] = max(result.peaks.get(label, 0), peak)


def ingest(
    names: list[str], rounds: int, settings: tuple[Setting, ...], work: Path
) -> dict[Setting, dict[str, Result]]:
    """Measure every server in every setting."""
    sources = {
        rows: write_series(work / f"ct{rows}", max(s.count for s in settings if s.rows == rows), rows, series=4)
        for rows in {setting.rows for setting in settings}
    }
    warm = write_series(work / "warm", 8, 64, series=1, seed="warm")
    results: dict[Setting, dict[str, Result]] = defaultdict(lambda: defaultdict(Result))
    for number in range(rounds):
        for setting in settings:
            files = sources[setting.rows][: setting.count]
            for name in names:
                # Kept to the end: ext4 passes over each inode that was deleted within minutes whenever it seeks a free
                # one, so to clear up here would make the next server pay for it.
                folder = work / f"{name}-{number}-{settings.index(setting)}"
                measure(SERVERS[name](folder), files, warm, setting, results[setting][name])
                got = results[setting][name]
                tail = f", searchable {got.searchable[-1]:7.1f}/s" if got.searchable else ""
                print(f"  round {number + 1}  {setting!s:24} {name:15} {got.acknowledged[-1]:7.1f}/s{tail}", flush=True)
    return results


def search(names: list[str], work: Path, studies: int = 1000) -> dict[str, dict[str, float]]:
    """Measure QIDO-RS study searches at a number of studies; milliseconds, median of 50."""
    files = write_series(work / "studies", studies, 64, series=studies, studies=studies, seed="search")
    queries = {
        "first 100": "?limit=100",
        "name prefix": "?PatientName=Schmidt00*&limit=100",
        "patient id": "?PatientID=P000500",
        "date range": "?StudyDate=20260301-20260331&limit=100",
        "modality": "?ModalitiesInStudy=CT&limit=25",
    }
    times: dict[str, dict[str, float]] = {}
    for name in names:
        server = SERVERS[name](work / f"search-{name}")
        if not server.searchable_at_all():
            continue
        with server.running():
            send(server, files, Setting(64, studies, 1))
            while (server.searchable() or 0) < studies:
                time.sleep(0.2)
            times[name] = {}
            for label, query in queries.items():
                samples = []
                for _ in range(50):
                    started = time.perf_counter()
                    answer = http_json(server.studies_url() + query)
                    samples.append((time.perf_counter() - started) * 1000)
                if not answer:
                    raise RuntimeError(f"{name} found nothing for {query}")
                times[name][label] = statistics.median(samples)
    return times


def report(results: dict[Setting, dict[str, Result]]) -> Iterator[str]:
    """Yield the table of ingest, as Markdown."""
    yield "| setting | server | acknowledged/s | to storescp | to orthanc | searchable/s | searchable to acknowledged |"
    yield "|---|---|---|---|---|---|---|"
    for setting, row in results.items():
        medians = {name: statistics.median(result.acknowledged) for name, result in row.items()}
        for name, result in row.items():
            ratios = [
                f"{medians[name] / medians[peer]:.2f}" if peer in medians else "" for peer in ("storescp", "orthanc")
            ]
            found = statistics.median(result.searchable) if result.searchable else None
            tail = [f"{found:.0f}", f"{found / medians[name]:.2f}"] if found else ["", ""]
            yield f"| {setting} | {name} | {medians[name]:.0f} | {' | '.join(ratios)} | {' | '.join(tail)} |"


def processor(results: dict[Setting, dict[str, Result]]) -> Iterator[str]:
    """Yield the processor time of each process for an instance, as Markdown."""
    yield "| setting | server | processor ms an instance, by process |"
    yield "|---|---|---|"
    for setting, row in results.items():
        for name, result in row.items():
            parts = {label: statistics.median(values) for label, values in result.processor.items()}
            shown = ", ".join(f"{label} {value:.2f}" for label, value in parts.items() if value >= 0.005)
            yield f"| {setting} | {name} | {shown} |"


def memory(results: dict[Setting, dict[str, Result]]) -> Iterator[str]:
    """Yield the peak memory of each process, as Markdown."""
    peaks: dict[tuple[str, str], int] = {}
    for row in results.values():
        for name, result in row.items():
            for label, peak in result.peaks.items():
                peaks[name, label] = max(peaks.get((name, label), 0), peak)
    yield "| server | process | peak resident MiB |"
    yield "|---|---|---|"
    for (name, label), peak in peaks.items():
        yield f"| {name} | {label} | {peak / (1 << 20):.0f} |"


def main() -> None:
    """Run what was asked for and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=list(SERVERS), help="servers to measure")
    parser.add_argument("--rows", type=int, nargs="+", help="only settings of these sizes (512, 64)")
    parser.add_argument("--associations", type=int, nargs="+", help="only settings with so many associations")
    parser.add_argument("--no-nagle", action="store_true", help="leave out the clients with Nagle")
    parser.add_argument("--only", choices=("ingest", "search"), help="only one of the two parts")
    parser.add_argument("--work", type=Path, help="folder to work in (default: a temporary one)")
    options = parser.parse_args()
    settings = tuple(
        setting
        for setting in SETTINGS
        if (not options.rows or setting.rows in options.rows)
        and (not options.associations or setting.associations in options.associations)
        and not (options.no_nagle and setting.nagle)
    )
    warm_memory()
    with tempfile.TemporaryDirectory(prefix="vna-bench-", dir=options.work) as folder:
        work = Path(folder)
        if options.only != "search":
            results = ingest(options.servers, options.rounds, settings, work)
            print("\n" + "\n".join(report(results)))
            print("\n" + "\n".join(processor(results)))
            print("\n" + "\n".join(memory(results)))
        if options.only != "ingest":
            times = search(options.servers, work)
            print("\n| QIDO-RS study search at 1,000 studies, ms | " + " | ".join(times) + " |")
            print("|---|" + "---|" * len(times))
            for label in next(iter(times.values())):
                print(f"| {label} | " + " | ".join(f"{times[name][label]:.1f}" for name in times) + " |")


if __name__ == "__main__":
    main()
