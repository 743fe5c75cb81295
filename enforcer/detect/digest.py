"""Which data the facts rest on, as one digest that every decision names."""

from __future__ import annotations

import sys
from hashlib import sha256
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from inspect import getsource
from pkgutil import walk_packages

# The packages that bring data: vocabularies, prices, numbering plans, and the matcher itself.
_PACKAGES = ("splintr-rs", "genai-prices", "phonenumbers", "google-re2", "python-stdnum")
# Modules that say nothing about a fact: the cache changes none, and this one.
_NOT_RULES = frozenset({"enforcer.detect.digest", "enforcer.detect.cache"})


def _data_digest() -> str:
    digest = sha256()
    for package in _PACKAGES:
        try:
            found = version(package)
        except PackageNotFoundError:
            found = "absent"
        digest.update(f"{package}={found}\n".encode())
    for name in _rules():
        source = sha256(getsource(import_module(name)).encode()).hexdigest()
        digest.update(f"{name}={source}\n".encode())
    return digest.hexdigest()


def _rules() -> list[str]:
    """The names of all modules of the detectors, in order, whichever of them were imported so far."""
    package = sys.modules["enforcer.detect"]
    found = walk_packages(package.__path__, "enforcer.detect.")
    return sorted(each.name for each in found if each.name not in _NOT_RULES)


DATA_DIGEST = _data_digest()
"""SHA-256 in hex over the data and the rules that facts are made by: the same, the same facts."""
