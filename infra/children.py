"""Child processes that cannot outlive their parent."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_UNPRIVILEGED_UID = 1000
_libc = ctypes.CDLL(None, use_errno=True)


class UserNamespaceError(RuntimeError):
    """Postgres refuses to run as root, and this machine does not let root drop its name.

    Caught by the stack's start and shown to the person at the keyboard.
    """


def _lose_root_name() -> None:
    """Become an ordinary user by name while keeping root's access to its own files.

    A user namespace maps root to an unprivileged id, so no account is created and no file changes owner.
    """
    uid, gid = os.geteuid(), os.getegid()
    if _libc.unshare(_CLONE_NEWUSER) != 0:
        raise UserNamespaceError(
            "Postgres does not run as root, and user namespaces are not allowed here: "
            "run inquest as an ordinary user, or set INQUEST_DATABASE_URL to a Postgres of your own"
        )
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{_UNPRIVILEGED_UID} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{_UNPRIVILEGED_UID} {gid} 1")


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    unprivileged: bool = False,
    on_parent_death: signal.Signals = signal.SIGKILL,
    environment: Mapping[str, str] | None = None,
    standard_input: str | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` in its own session; the kernel sends it `on_parent_death` when this process dies.

    Args:
        command: program and arguments; no shell is involved.
        log: file that standard output and error are appended to.
        unprivileged: start as an ordinary user by name when this process is root.
        on_parent_death: the signal for an orphan.
        environment: replaces the inherited environment when given.
        standard_input: text to feed; nothing when None.

    Raises:
        UserNamespaceError: `unprivileged` was requested by root where that is not possible.
    """
    parent = os.getpid()
    drop = unprivileged and os.geteuid() == 0

    def before_exec() -> None:
        if drop:
            _lose_root_name()
        _libc.prctl(_PR_SET_PDEATHSIG, on_parent_death)
        if os.getppid() != parent and not drop:
            os._exit(1)

    with log.open("ab") as output:
        try:
            child = subprocess.Popen(  # noqa: S603 - fixed programs from our own wheels
                [str(part) for part in command],
                stdin=subprocess.DEVNULL if standard_input is None else subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=before_exec,  # noqa: PLW1509 - the callers spawn before they start threads
                env=None if environment is None else dict(environment),
            )
        except subprocess.SubprocessError as error:
            raise UserNamespaceError(
                f"could not start {command[0]} as an ordinary user: run inquest as an ordinary user, "
                "or set INQUEST_DATABASE_URL to a Postgres of your own"
            ) from error
    if standard_input is not None:
        assert child.stdin is not None
        child.stdin.write(standard_input.encode())
        child.stdin.close()
    return child


def stop(child: subprocess.Popen[bytes], *, polite: signal.Signals, grace_s: float) -> None:
    """End `child` with `polite`, and with SIGKILL when it has not gone after `grace_s` seconds."""
    if child.poll() is None:
        child.send_signal(polite)
        try:
            child.wait(grace_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
