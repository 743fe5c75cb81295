"""Which data the facts rest on, as one digest that every decision names."""

from __future__ import annotations

from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from inspect import getsource

from enforcer.detect import charges, chat, media, pricing, recogniser, scanning, vocabulary
from enforcer.detect.pii import (
    accounts,
    network,
    numbers,
    people,
    phones,
    scanner,
    words,
)

# The packages that bring data: vocabularies, prices, numbering plans, and the matcher itself.
_PACKAGES = ("splintr-rs", "genai-prices", "phonenumbers", "google-re2", "python-stdnum")
_MODULES = (
    accounts,
    charges,
    chat,
    media,
    network,
    numbers,
    people,
    phones,
    pricing,
    recogniser,
    scanner,
    scanning,
    vocabulary,
    words,
)


def _data_digest() -> str:
    digest = sha256()
    for package in _PACKAGES:
        try:
            found = version(package)
        except PackageNotFoundError:
            found = "absent"
        digest.update(f"{package}={found}\n".encode())
    for module in _MODULES:
        digest.update(
            f"{module.__name__}={sha256(getsource(module).encode()).hexdigest()}\n".encode()
        )
    return digest.hexdigest()


DATA_DIGEST = _data_digest()
"""SHA-256 in hex over the data and the rules that facts are made by: the same, the same facts."""
