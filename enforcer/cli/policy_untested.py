"""Which policies of a folder no file of tests is about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from enforcer.cli.policy_files import document_files, sources
from enforcer.errors import EnforcerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enforcer.policy import Loaded


def with_untested(loaded: Loaded, paths: Sequence[Path]) -> Loaded:
    """
    *loaded*, with a finding for each file of policies in the folders of *paths* that has no tests.

    A file that is named by itself is being written; of a folder one may ask that it is tested.
    """
    from enforcer.policy.findings import Findings  # noqa: PLC0415 — the checker takes its time to load

    folders = [path for path in paths if path.is_dir()]
    tested = {each.resolve() for folder in folders for each in _tested(folder)}
    findings = Findings()
    findings.extend(loaded.findings)
    told: set[str] = set()
    for document in loaded.documents:
        file = Path(document.place.file)
        is_below = any(folder in file.parents for folder in folders)
        if document.kind != "Policy" or str(file) in told or not is_below:
            continue
        told.add(str(file))
        resolved = file.resolve()
        if resolved in tested or not tested.isdisjoint(resolved.parents):
            continue
        said = f"no tests are about the policies of {file.name}"
        help_line = (
            f"write cases in {file.stem}.test{file.suffix}; `enforcer policy test` runs them"
        )
        findings.info("ENF0907", said, document.place, help=help_line)
    return replace(loaded, findings=findings.sorted(), omitted=loaded.omitted + findings.omitted)


def _tested(folder: Path) -> set[Path]:
    """The documents, and folders of them, that the files of tests below *folder* are about."""
    from enforcer.cli.policy_test import TEST_SUFFIXES, under_test  # noqa: PLC0415 — as above
    from enforcer.policy.cases import read_suite  # noqa: PLC0415 — as above
    from enforcer.policy.findings import Findings  # noqa: PLC0415 — as above

    found: set[Path] = set()
    for file in document_files([folder]):
        if not file.name.endswith(TEST_SUFFIXES):
            continue
        findings = Findings()
        try:
            ((name, text),) = sources([file])
        except EnforcerError:
            continue  # `policy test` says why.
        suite = read_suite(name, text, findings)
        if suite is not None:
            found.update(under_test(file, suite, findings) or ())
    return found
