"""Signatures of packs: what ssh signs is accepted, ssh accepts what is signed, and nothing else is."""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ial_bench.errors import ConfigError, DataError
from ial_bench.packs.sign import read_signers, sign, signature_of, signed_by

cryptography = pytest.importorskip("cryptography", reason="cryptography is not installed")
SSH = shutil.which("ssh-keygen")
with_ssh = pytest.mark.skipif(SSH is None, reason="no ssh-keygen on PATH")


def no_passphrase() -> str:
    raise AssertionError("a passphrase was asked for")


def make_key(path: Path, passphrase: bytes | None = None) -> str:
    """A key in the form of ssh; its public half as one line."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )  # fmt: skip

    key = Ed25519PrivateKey.generate()
    kept = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, kept))
    path.chmod(0o600)
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A key, a file of signers that has it among others, and something to sign."""
    public, other = make_key(tmp_path / "key"), make_key(tmp_path / "other")
    lines = [
        "# who may sign",
        f"somebody@example.org {other}",
        f'lab@example.org namespaces="ial-bench,git" {public} me',
    ]
    (tmp_path / "signers").write_text("\n".join(lines) + "\n")
    (tmp_path / "a.ialpack").write_bytes(b"results" * 100)
    return tmp_path


def ssh(*arguments: str | Path, stdin: Path | None = None) -> subprocess.CompletedProcess[str]:
    assert SSH is not None
    data = None if stdin is None else stdin.read_bytes().decode("latin-1")
    return subprocess.run([SSH, *map(str, arguments)], input=data, capture_output=True, text=True, check=False)


def test_what_is_signed_is_the_labs(lab: Path) -> None:
    assert sign(lab / "a.ialpack", lab / "key", no_passphrase) == lab / "a.ialpack.sig"
    assert signed_by(lab / "a.ialpack", read_signers(lab / "signers")) == "lab@example.org"


@with_ssh
def test_ssh_accepts_what_is_signed(lab: Path) -> None:
    pack = lab / "a.ialpack"
    sign(pack, lab / "key", no_passphrase)
    check = (
        "-Y",
        "verify",
        "-n",
        "ial-bench",
        "-f",
        lab / "signers",
        "-I",
        "lab@example.org",
        "-s",
        signature_of(pack),
    )
    done = ssh(*check, stdin=pack)
    assert done.returncode == 0, done.stdout + done.stderr
    pack.write_bytes(pack.read_bytes() + b"!")
    assert ssh(*check, stdin=pack).returncode != 0


@with_ssh
def test_what_ssh_signs_is_accepted(lab: Path) -> None:
    done = ssh("-Y", "sign", "-n", "ial-bench", "-f", lab / "key", lab / "a.ialpack")
    assert done.returncode == 0, done.stderr
    assert signed_by(lab / "a.ialpack", read_signers(lab / "signers")) == "lab@example.org"


@with_ssh
def test_a_signature_for_something_else_is_none(lab: Path) -> None:
    assert ssh("-Y", "sign", "-n", "file", "-f", lab / "key", lab / "a.ialpack").returncode == 0
    with pytest.raises(DataError, match="made for 'file'"):
        signed_by(lab / "a.ialpack", read_signers(lab / "signers"))


def test_a_passphrase_is_asked_for(lab: Path) -> None:
    public = make_key(lab / "locked", b"secret")
    (lab / "signers").write_text(f"me {public}\n")
    sign(lab / "a.ialpack", lab / "locked", lambda: "secret")
    assert signed_by(lab / "a.ialpack", read_signers(lab / "signers")) == "me"
    with pytest.raises(DataError, match="cannot use the key"):
        sign(lab / "a.ialpack", lab / "locked", lambda: "wrong")


def test_a_change_of_one_byte_is_seen(lab: Path) -> None:
    pack, signers = lab / "a.ialpack", read_signers(lab / "signers")
    sign(pack, lab / "key", no_passphrase)
    data, text = pack.read_bytes(), signature_of(pack).read_text()
    pack.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DataError, match="does not sign"):
        signed_by(pack, signers)
    pack.write_bytes(data)
    lines = text.splitlines()
    blob = bytearray(base64.b64decode("".join(lines[1:-1])))
    for at in range(len(blob)):
        changed = blob.copy()
        changed[at] ^= 1
        coded = base64.b64encode(changed).decode()
        signature_of(pack).write_text("\n".join([lines[0], coded, lines[-1]]) + "\n")
        with pytest.raises(DataError):
            signed_by(pack, signers)


def test_another_key_is_nobodys(lab: Path) -> None:
    make_key(lab / "stranger")
    sign(lab / "a.ialpack", lab / "stranger", no_passphrase)
    with pytest.raises(DataError, match="none of the signers"):
        signed_by(lab / "a.ialpack", read_signers(lab / "signers"))


@pytest.mark.parametrize(
    "text", ["", "hello", "-----BEGIN SSH SIGNATURE-----\n!!!\n-----END SSH SIGNATURE-----", "\xff"]
)
def test_what_is_no_signature_is_said(text: str, lab: Path) -> None:
    signature_of(lab / "a.ialpack").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match="no signature of a pack"):
        signed_by(lab / "a.ialpack", read_signers(lab / "signers"))


def test_no_signature_names_the_command(lab: Path) -> None:
    with pytest.raises(DataError, match="no signature beside") as told:
        signed_by(lab / "a.ialpack", read_signers(lab / "signers"))
    assert "ssh-keygen -Y sign -n ial-bench" in str(told.value)


@pytest.mark.parametrize(
    "line", ["me", "me ssh-ed25519", "me ssh-ed25519 ***", "me ssh-rsa AAAA", "me valid-before=1 ssh-ed25519 AAAA"]
)
def test_a_line_that_names_no_signer_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "signers").write_text(f"# me\n{line}\n")
    with pytest.raises(DataError, match="line 2 names no signer"):
        read_signers(tmp_path / "signers")


def test_a_key_for_other_things_is_left_out(lab: Path) -> None:
    text = (lab / "signers").read_text().replace("ial-bench,git", "git")
    (lab / "signers").write_text(text)
    assert [s.name for s in read_signers(lab / "signers")] == ["somebody@example.org"]


def test_without_the_library_the_extra_is_named(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ConfigError, match="cryptography") as told:
        sign(lab / "a.ialpack", lab / "key", no_passphrase)
    assert "ial-bench[sign]" in str(told.value)
