"""Which keys of hosts are known, and what to say of one that is not."""

import shlex
from pathlib import Path

import asyncssh

from awfe.steps.failed import Failed

# After those of the keys that are known, for then a host that has none of these still shows its key, as with OpenSSH.
FURTHER_ALGORITHMS = (
    "+ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-256"
)
_DEFAULT = "~/.ssh/known_hosts"


class Witness(asyncssh.SSHClient):
    """Notes the key that a host offers and that is not known; it never trusts one."""

    def __init__(self, host: str, port: int) -> None:
        """Begin with how the host is called here; a configuration may call it otherwise."""
        self.host = host
        self.port = port
        self.offered: asyncssh.SSHKey | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Note the key."""
        del addr
        self.host, self.port, self.offered = host, port, key
        return False


class KnownHosts:
    """The keys of a file, which may be missing: then no host is known."""

    def __init__(self, path: Path, keys: asyncssh.SSHKnownHosts) -> None:
        """Keep both."""
        self.path = path
        self.keys = keys

    @classmethod
    def read(cls, path: str | None) -> "KnownHosts":
        """Read a file of OpenSSH's format; raises `Failed` for one that can't be read."""
        found = Path(path or _DEFAULT).expanduser().absolute()
        try:
            return cls(found, asyncssh.import_known_hosts(found.read_text() if found.exists() else ""))
        except (OSError, ValueError) as error:
            msg = f"known_hosts: {found} can't be read: {error}"
            raise Failed(msg) from error

    def explain(self, witness: Witness, error: Exception) -> str:
        """Return why a host is not trusted, and what to do."""
        default = witness.port == asyncssh.DEFAULT_PORT
        name = witness.host if default else f"[{witness.host}]:{witness.port}"
        keys, *_ = self.keys.match(name, "", None)
        file = shlex.quote(str(self.path))
        scan = "ssh-keyscan" + ("" if default else f" -p {witness.port}")
        add = f"{scan} {shlex.quote(witness.host)} >> {file}"
        offered = "none that fits"
        if witness.offered is not None:
            offered = f"{witness.offered.get_algorithm()} {witness.offered.get_fingerprint()}"
        if keys:
            listed = ", ".join(f"{key.get_algorithm()} {key.get_fingerprint()}" for key in keys)
            return (
                f"ITS HOST KEY HAS CHANGED, somebody may be in between: {self.path} has {listed} for {name}, and it "
                f"offers {offered}. When you know why it changed, and have compared the new one on the host itself: "
                f"ssh-keygen -f {file} -R {shlex.quote(name)} && {add}"
            )
        if witness.offered is None:
            return f"no agreement on a host key for {name}, with {self.path}: {error}"
        return (
            f"its host key is not known: {self.path} has none for {name}, which offers {offered}. "
            f"Compare it on the host itself, then add it: {add}"
        )
