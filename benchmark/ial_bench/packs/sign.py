"""Signatures of packs with ssh keys, so that others can check that results are a lab's own.

A signature lies beside the pack, in the form of ``ssh-keygen -Y sign -n ial-bench``, which can make and check it too
(OpenSSH, PROTOCOL.sshsig). Who may sign is listed in a file of OpenSSH's form ``allowed_signers``: a name, the kind of
the key, the key. Keys are Ed25519, which every ssh of the last ten years makes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ial_bench.errors import ConfigError, DataError
from ial_bench.files import check_regular, read_file, write_text

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SUFFIX = ".sig"
NAMESPACE = b"ial-bench"
_KIND = "ssh-ed25519"
_MAGIC, _VERSION, _HASH = b"SSHSIG", 1, b"sha512"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_MOST_BYTES = 1 << 16  # of a signature, and of a line of signers
_WRAPPED = 70


@dataclass(frozen=True)
class Signer:
    """Who may sign.

    Attributes:
        name: to which results are attributed.
        key: the public key, as ssh writes it on the wire.
    """

    name: str
    key: bytes


def signature_of(pack: Path) -> Path:
    """Where a pack's signature lies."""
    return pack.with_name(pack.name + SUFFIX)


def sign(pack: Path, key: Path, passphrase: Callable[[], str]) -> Path:
    """Sign a pack.

    Args:
        pack: to sign.
        key: file of a private key.
        passphrase: asked where the key has one.

    Returns:
        The file of the signature.

    Raises:
        ConfigError: the extra is not installed.
        DataError: no such pack, or no such Ed25519 key.
        StorageError: the signature cannot be written.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    private = _private(key, passphrase)
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    wire = base64.b64decode(public.split()[1])
    signature = _text(_KIND.encode()) + _text(private.sign(_signed(pack)))
    blob = _MAGIC + struct.pack(">I", _VERSION) + b"".join(map(_text, (wire, NAMESPACE, b"", _HASH, signature)))
    coded = base64.b64encode(blob).decode()
    lines = [coded[i : i + _WRAPPED] for i in range(0, len(coded), _WRAPPED)]
    out = signature_of(pack)
    write_text(out, "\n".join([_BEGIN, *lines, _END]) + "\n")
    return out


def signed_by(pack: Path, signers: list[Signer]) -> str:
    """The name of the signer of a pack.

    Raises:
        ConfigError: the extra is not installed.
        DataError: it is not signed, not by one of these, or was changed since.
    """
    check_installed()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    file = signature_of(pack)
    wire, signature = _read(file)
    names = [s.name for s in signers if s.key == wire]
    if not names:
        raise DataError(f"{file} is of a key that none of the signers has", "ask who made it, or add the key")
    try:
        (kind, raw), (algorithm, value) = _taken(wire, 2), _taken(signature, 2)
        if kind != _KIND.encode() or algorithm != kind:
            raise DataError(f"{file} is no signature by an {_KIND} key", _how(file))
        Ed25519PublicKey.from_public_bytes(raw).verify(value, _signed(pack))
    except (InvalidSignature, ValueError, struct.error) as error:
        fix = "get both again, or ask who made it"
        raise DataError(f"{file} does not sign {pack.name} as it is now", fix) from error
    return names[0]


def read_signers(path: Path) -> list[Signer]:
    """Who may sign, from a file of OpenSSH's form.

    Raises:
        DataError: it cannot be read, or a line of it is of another form; names the line.
    """
    try:
        lines = read_file(path, 16 * _MOST_BYTES).decode().splitlines()
    except ValueError as error:
        raise DataError(f"cannot read {path}: {error}") from error
    found = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            kind = words.index(_KIND)
            options = words[1:kind]
            if options and not all(o.startswith("namespaces=") for o in options):
                raise ValueError("has options that are not understood")
            if options and NAMESPACE.decode() not in options[0].partition("=")[2].strip('"').split(","):
                continue
            found.append(Signer(words[0], base64.b64decode(words[kind + 1], validate=True)))
        except (ValueError, IndexError, binascii.Error) as error:
            form = f"NAME {_KIND} KEY, as in ~/.ssh/id_ed25519.pub with a name before it"
            raise DataError(f"{path}, line {number} names no signer: {error}", f"each line is {form}") from error
    return found


def check_installed() -> None:
    """Check that the library is there.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import cryptography  # noqa: F401 - looked for
    except ImportError as error:
        raise ConfigError("signatures need cryptography", "pip install 'ial-bench[sign]'") from error


def _private(key: Path, passphrase: Callable[[], str]) -> Ed25519PrivateKey:
    check_installed()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    try:
        data = read_file(key.expanduser(), _MOST_BYTES)
        found: Any
        try:
            found = load_ssh_private_key(data, None)
        except TypeError:  # it has a passphrase
            found = load_ssh_private_key(data, passphrase().encode())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise DataError(f"cannot use the key {key}: {error}", "ssh-keygen -t ed25519 makes one") from error
    if not isinstance(found, Ed25519PrivateKey):
        raise DataError(f"{key} is no {_KIND} key", "ssh-keygen -t ed25519 makes one")
    return found


def _signed(pack: Path) -> bytes:
    """The bytes that are signed for a file, as OpenSSH defines them."""
    digest = hashlib.sha512(read_file(pack)).digest()
    return _MAGIC + b"".join(map(_text, (NAMESPACE, b"", _HASH, digest)))


def _read(file: Path) -> tuple[bytes, bytes]:
    """Public key and signature, both as on the wire."""
    check_regular(file)
    try:
        lines = file.read_text(encoding="ascii")[:_MOST_BYTES].split()
        text = " ".join(lines)
        if not text.startswith(_BEGIN) or not text.endswith(_END):
            raise ValueError("no signature of ssh")
        blob = base64.b64decode(text.removeprefix(_BEGIN).removesuffix(_END).replace(" ", ""), validate=True)
        head, (version,) = blob[:6], struct.unpack(">I", blob[6:10])
        if head != _MAGIC or version != _VERSION:
            raise ValueError("another version")
        key, namespace, _, name, signature = _taken(blob[10:], 5)
        if namespace != NAMESPACE or name != _HASH:
            raise ValueError(f"made for {namespace.decode(errors='replace')!r}")
    except FileNotFoundError as error:
        raise DataError(f"no signature beside {file.name.removesuffix(SUFFIX)}", _how(file)) from error
    except (OSError, ValueError, struct.error, binascii.Error) as error:
        raise DataError(f"{file} is no signature of a pack: {error}", _how(file)) from error
    return key, signature


def _how(file: Path) -> str:
    pack, name = file.name.removesuffix(SUFFIX), NAMESPACE.decode()
    return f"`bench results sign {pack} --key KEY` or `ssh-keygen -Y sign -n {name} -f KEY {pack}` makes one"


def _text(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _taken(data: bytes, n: int) -> list[bytes]:
    """`n` texts from the wire, with nothing after them."""
    found = []
    for _ in range(n):
        (size,) = struct.unpack(">I", data[:4])
        if len(data) < 4 + size:
            raise ValueError("cut off")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    if data:
        raise ValueError("more than a signature")
    return found
