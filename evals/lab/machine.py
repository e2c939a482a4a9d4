"""What the lab needs of the machine itself: small volumes, and networks of a process's own. Both need root."""

import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


class ImpossibleHereError(RuntimeError):
    """This machine does not let the lab do something for real; it is not played in another way."""


def mount(folder: Path, size: str) -> bool:
    """Make `folder` a volume of `size` (as in `2m`); False, and a plain folder, where that is not allowed."""
    return _does("mount", "-t", "tmpfs", "-o", f"size={size}", "lab", str(folder))


def unmount(folder: Path) -> None:
    """End what `mount` began, if it did."""
    if folder.is_mount():
        _does("umount", "--lazy", str(folder))


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network namespace with one link to this machine's."""

    name: str
    inside: str
    """Address of the process within."""

    outside: str
    """Address of everybody else, seen from within."""

    @classmethod
    def made(cls) -> "Network":
        """A new one.

        Raises:
            ImpossibleHereError: the machine has no `ip`, or does not allow it.
        """
        drawn = random.SystemRandom().randrange(64, 16_000)
        name, prefix = f"lab{drawn}", f"10.213.{drawn // 64}.{drawn % 64 * 4}"
        base, last = prefix.rsplit(".", 1)
        network = cls(name=name, inside=f"{base}.{int(last) + 2}", outside=f"{base}.{int(last) + 1}")
        steps = (
            ("ip", "netns", "add", name),
            ("ip", "link", "add", f"{name}o", "type", "veth", "peer", "name", f"{name}i", "netns", name),
            ("ip", "address", "add", f"{network.outside}/30", "dev", f"{name}o"),
            ("ip", "link", "set", f"{name}o", "up"),
            ("ip", "-n", name, "address", "add", f"{network.inside}/30", "dev", f"{name}i"),
            ("ip", "-n", name, "link", "set", f"{name}i", "up"),
            ("ip", "-n", name, "link", "set", "lo", "up"),
        )
        for step in steps:
            if not _does(*step):
                network.remove()
                raise ImpossibleHereError(
                    f"{' '.join(step)} is not possible: network namespaces need root and iproute2"
                )
        return network

    @property
    def within(self) -> tuple[str, ...]:
        """What to put before a command to run it inside."""
        return ("ip", "netns", "exec", self.name)

    def throttle(self, *, rate: str, queue: str) -> None:
        """Let no more than `rate` into it; what does not fit into `queue` (bytes, as in `60kb`) is lost.

        Raises:
            ImpossibleHereError: the kernel has no token bucket filter.
        """
        bucket = ("root", "tbf", "rate", rate, "burst", "1600", "limit", queue)
        if not _does("tc", "qdisc", "add", "dev", f"{self.name}o", *bucket):
            raise ImpossibleHereError("tc cannot limit a link here")

    def remove(self) -> None:
        """Take it away; the link goes with it."""
        _does("ip", "netns", "delete", self.name)


def _does(*command: str) -> bool:
    program = shutil.which(command[0])
    if program is None:
        return False
    done = subprocess.run([program, *command[1:]], capture_output=True, timeout=30, check=False)  # noqa: S603 - our own words
    return done.returncode == 0
