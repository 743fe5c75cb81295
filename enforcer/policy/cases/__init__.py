"""Tests of policies as documents: ``*.test.yaml``, read with the reader of the policies, matrices expanded."""

from enforcer.policy.cases.documents import Case, CaseFile, Expect, GivenRow
from enforcer.policy.cases.reading import DEFAULT_NOW, DEFAULT_REQUEST, ReadCase, Suite, read_suite

__all__ = [
    "DEFAULT_NOW",
    "DEFAULT_REQUEST",
    "Case",
    "CaseFile",
    "Expect",
    "GivenRow",
    "ReadCase",
    "Suite",
    "read_suite",
]
