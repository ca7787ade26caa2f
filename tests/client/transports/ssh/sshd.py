"""A real sshd for tests: on this machine, for this user, with keys of its own."""

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from attrs import frozen

from tests.client.transports.scripts import eventually

_SSHD = shutil.which("sshd") or "/usr/sbin/sshd"  # sshd has to be called by its absolute path


@frozen
class Server:
    """An sshd that is running."""

    folder: Path
    port: int
    process: psutil.Process

    @property
    def home(self) -> Path:
        """The HOME after a login, so that no settings of the user apply."""
        return self.folder / "home"

    def login(self, **given: Any) -> dict[str, Any]:
        """Return the arguments with which a transport logs in."""
        options = ("StrictHostKeyChecking=yes", f"UserKnownHostsFile={self.folder / 'known_hosts'}")
        own = {"port": self.port, "keyfile": self.folder / "key", "ssh_options": options}
        return {"host": f"{getpass.getuser()}@127.0.0.1", **own, **given}

    def cut(self) -> None:
        """Kill all connections."""
        for process in self.process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if process.name().startswith("sshd"):
                    process.kill()


def free_port() -> int:
    """Return a port on which no process listens now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def serving(folder: Path, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run an sshd; skip the test where there is none.

    Args:
        folder: The folder for its files.
        env: Variables of a login.
    """
    if not os.access(_SSHD, os.X_OK):
        pytest.skip("there is no sshd: install the Debian package openssh-server")
    port = free_port()
    _configure(folder, port, {"HOME": str(folder / "home"), **(env or {})})
    log = folder / "log"
    argv = [_SSHD, "-D", "-f", str(folder / "config"), "-E", str(log)]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as process:
        server = Server(folder, port, psutil.Process(process.pid))
        try:
            if not eventually(lambda: process.poll() is not None or _listens(port)):
                pytest.fail("sshd does not listen")
            assert process.poll() is None, log.read_text()
            yield server
        finally:
            server.cut()
            process.terminate()


def _configure(folder: Path, port: int, env: Mapping[str, str]) -> None:
    (folder / "home").mkdir()
    for name in ("host_key", "key"):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(argv, check=True)
    public = (folder / "host_key.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    (folder / "config").write_text(
        f"""
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile none
MaxStartups 100
KexAlgorithms curve25519-sha256
SetEnv {" ".join(f'"{name}={value}"' for name, value in env.items())}
"""
    )


def _listens(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0
