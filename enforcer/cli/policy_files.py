"""Policy documents from files, folders and stdin, and what the checker says of them."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

from enforcer.config import Settings, redaction_key
from enforcer.errors import ConfigError, NotFoundError, PolicyError, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from enforcer.policy import Finding, Loaded

SUFFIXES = (".yaml", ".yml", ".json")
NOT_DOCUMENTS = (".test.yaml", ".test.yml", ".test.json")
"""Tests stand beside their policies, and are no policies."""
STDIN = "<stdin>"
NOTHING = "ENF0113"
"""The finding of a source without documents: told by every verb that reads sources."""
SOURCE_BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Checked:
    """What the checker says of sources, and their texts by name."""

    loaded: Loaded
    texts: Mapping[str, str]


def load(paths: Iterable[Path], *, tenant: str | None = None) -> Loaded:
    """
    The documents of files, folders and stdin, and everything that is wrong with them.

    Args:
        paths: As given; ``-`` is stdin.
        tenant: Whose documents of the existing engine's form are; everybody's, if None.

    Raises: NotFoundError for a path that is not there, or a folder without documents; ConfigError for a
    redaction key that cannot be used.
    """
    return checked(paths, tenant=tenant).loaded


def checked(paths: Iterable[Path], *, tenant: str | None = None) -> Checked:
    """
    As ``load``, with the texts.

    A file that is no text is a finding like others: it hides nothing of the files beside it.
    """
    from enforcer import policy  # noqa: PLC0415 — the checker takes its time to load

    texts: list[tuple[str, str]] = []
    unreadable: list[Finding] = []
    for name, data in _contents(paths):
        try:
            texts.append((name, _decoded(data, name)))
        except PolicyError as error:
            unreadable.append(
                policy.Finding(error.code, "error", error.message, error.span, error.help)
            )
    has_key = redaction_key(Settings.load().redaction_key_file) is not None
    loaded = policy.load(
        texts,
        default_tenant=tenant or "*",
        has_redaction_key=has_key,
        prove=True,
        now_us=time.time_ns() // 1_000,
    )
    loaded = replace(loaded, findings=(*unreadable, *loaded.findings))
    return Checked(loaded, dict(texts))


def fix(paths: Sequence[Path], *, tenant: str | None = None) -> list[str]:
    """
    Make every fix that helps, in the files; their names, those that changed.

    Raises: ConfigError for stdin, NotFoundError and PolicyError as ``sources`` does.
    """
    from enforcer import policy  # noqa: PLC0415 — as above

    if any(str(path) == "-" for path in paths):
        raise ConfigError("stdin cannot be fixed", help="give files or folders", code="usage")
    texts = dict(sources(paths))
    has_key = redaction_key(Settings.load().redaction_key_file) is not None
    found = policy.mended(texts.items(), default_tenant=tenant or "*", has_redaction_key=has_key)
    changed = [name for name, text in found.items() if text != texts[name]]
    for name in changed:
        FilePath(name).write_text(found[name], encoding="utf-8", newline="\n")
    return changed


def sources(paths: Iterable[Path], *, with_tests: bool = False) -> Iterator[tuple[str, str]]:
    """
    Name and text of every source, folders walked in order of their names.

    Args:
        paths: As given; ``-`` is stdin.
        with_tests: Of folders, files of tests too.

    Raises: NotFoundError for a path that is not there, or a folder without documents; PolicyError for a
    file that is no text.
    """
    for name, data in _contents(paths, with_tests=with_tests):
        yield name, _decoded(data, name)


def _contents(paths: Iterable[Path], *, with_tests: bool = False) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        if str(path) == "-":
            yield STDIN, sys.stdin.buffer.read(SOURCE_BYTES_MAX + 1)
        elif path.is_dir():
            found = _files_below(path, with_tests=with_tests)
            if not found:
                raise NotFoundError(
                    f"{path} holds no documents", help=f"their names end in {', '.join(SUFFIXES)}"
                )
            for file in found:
                yield str(file), _content(file)
        elif path.exists():
            yield str(path), _content(path)
        else:
            raise NotFoundError(
                f"{path} does not exist", help="give a file, a folder, or - for stdin"
            )


def document_files(paths: Iterable[Path]) -> list[Path]:
    """The files that are there now: those given, and the documents and tests of folders."""
    found: list[FilePath] = []
    for path in paths:
        found += _files_below(path, with_tests=True) if path.is_dir() else [path]
    return found


def _files_below(folder: Path, *, with_tests: bool) -> list[FilePath]:
    return [
        each
        for each in sorted(folder.rglob("*"))
        if _is_document(each, with_tests=with_tests) and each.is_file()
    ]


def _is_document(path: Path, *, with_tests: bool) -> bool:
    is_test = path.name.endswith(NOT_DOCUMENTS)
    return path.name.endswith(SUFFIXES) and (with_tests or not is_test)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(SOURCE_BYTES_MAX + 1)
    except OSError as error:
        help_line = "give a file, a folder, or - for stdin"
        if isinstance(error, PermissionError):
            help_line = f"let this user read it: chmod u+r {path}"
        raise NotFoundError(f"{path} cannot be read: {error.strerror}", help=help_line) from error


def _decoded(data: bytes, name: str) -> str:
    if len(data) > SOURCE_BYTES_MAX:
        raise PolicyError(
            f"{name} has more than {SOURCE_BYTES_MAX} bytes",
            span=Span(name),
            help="give several files",
            code="ENF0102",
        )
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise PolicyError(
            f"{name} is no UTF-8 text (byte {error.start})",
            span=_place(data, error.start, name),
            help=_how_to_save(data, name),
            code="ENF0101",
        ) from None


def _how_to_save(data: bytes, name: str) -> str:
    """What to do with a file that is no UTF-8."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return f"it is UTF-16; save it as UTF-8: iconv -f UTF-16 -t UTF-8 {name}"
    if b"\0" in data[:1024]:
        return "it is a binary file; give files of YAML or JSON"
    return "save it as UTF-8"


def _place(data: bytes, index: int, name: str) -> Span:
    """Line and column of a byte that is no text; the column counts bytes."""
    before = data[:index]
    return Span(name, before.count(b"\n") + 1, index - (before.rfind(b"\n") + 1) + 1)
