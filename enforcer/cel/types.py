"""
Types as the checker knows them, and when one may stand for another.

Source of the algorithm (assignment, generality, substitution): the CEL specification, "Gradual Type
Checking", in the form of google/cel-go's checker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_TOKEN = re.compile(r"[A-Za-z_][\w.]*|[(),]")


@dataclass(frozen=True, slots=True)
class Type:
    """
    A type: its name and the types it is made of.

    A type parameter is a type whose name begins with ``@``; ``type(int)`` is the type of ``int``.
    """

    name: str
    parameters: tuple[Type, ...] = ()

    def __str__(self) -> str:
        """As authors write it: ``map(string, int)``."""
        if not self.parameters:
            return self.name.removeprefix("@")
        return f"{self.name}({', '.join(map(str, self.parameters))})"


BOOL: Final = Type("bool")
INT: Final = Type("int")
UINT: Final = Type("uint")
DOUBLE: Final = Type("double")
STRING: Final = Type("string")
BYTES: Final = Type("bytes")
NULL: Final = Type("null")
DYN: Final = Type("dyn")
ERROR: Final = Type("error")
TIMESTAMP: Final = Type("timestamp")
DURATION: Final = Type("duration")

PRIMITIVES: Final = frozenset({BOOL, INT, UINT, DOUBLE, STRING, BYTES})
NUMBERS: Final = frozenset({INT, UINT, DOUBLE})
_WILD: Final = frozenset({"dyn", "error"})


def list_of(element: Type) -> Type:
    """``list(element)``."""
    return Type("list", (element,))


def map_of(key: Type, value: Type) -> Type:
    """``map(key, value)``."""
    return Type("map", (key, value))


def optional_of(value: Type) -> Type:
    """``optional(value)``."""
    return Type("optional", (value,))


def type_of(value: Type) -> Type:
    """``type(value)``: the type of a type."""
    return Type("type", (value,))


def is_wild(type_: Type) -> bool:
    """Whether it fits everywhere: dyn, or the type of what did not check."""
    return type_.name in _WILD


def is_parameter(type_: Type) -> bool:
    """Whether it is a type parameter."""
    return type_.name.startswith("@")


def parameters_of(type_: Type) -> list[Type]:
    """The type parameters in *type_*, each once, from left to right."""
    found = [type_] if is_parameter(type_) else []
    for below in type_.parameters:
        found.extend(each for each in parameters_of(below) if each not in found)
    return found


def read_type(text: str) -> Type:
    """
    A type from its text; a single capital letter is a parameter.

    Raises: ValueError.
    """
    words = _TOKEN.findall(text)
    if "".join(words) != text.replace(" ", ""):
        raise ValueError(f"`{text}` is no type")
    found, rest = _read(words)
    if rest:
        raise ValueError(f"`{text}` is no type")
    return found


def _read(words: list[str]) -> tuple[Type, list[str]]:
    if not words or words[0] in "(),":
        raise ValueError("a type is missing")
    name, rest = words[0], words[1:]
    if len(name) == 1 and name.isupper():
        return Type(f"@{name}"), rest
    parameters: list[Type] = []
    if rest[:1] == ["("]:
        while rest[0] in "(,":
            below, rest = _read(rest[1:])
            parameters.append(below)
            if not rest:
                raise ValueError("a closing parenthesis is missing")
        rest = rest[1:]
    return Type(name, tuple(parameters)), rest


class Mapping:
    """What type parameters stand for. What a trial learns is undone where it fails."""

    __slots__ = ("_undo", "found")

    def __init__(self) -> None:
        self.found: dict[str, Type] = {}
        self._undo: list[tuple[str, Type | None]] = []

    def _learn(self, parameter: str, type_: Type) -> None:
        self._undo.append((parameter, self.found.get(parameter)))
        self.found[parameter] = type_

    def fits(self, given: tuple[Type, ...], wanted: tuple[Type, ...]) -> bool:
        """Whether *given* may stand for *wanted*, one by one; if so, learn what that needs."""
        if len(given) != len(wanted):
            return False
        self._undo.clear()
        if all(self.assignable(a, b) for a, b in zip(given, wanted, strict=True)):
            return True
        for parameter, before in reversed(self._undo):
            if before is None:
                del self.found[parameter]
            else:
                self.found[parameter] = before
        return False

    def assignable(self, given: Type, wanted: Type) -> bool:
        """Whether *given* may stand for *wanted*; learns as it goes, also where the answer is no."""
        if is_parameter(wanted):
            valid, known = self._substitutes(given, wanted)
            if valid or known:
                return valid
        if is_parameter(given):
            return self._substitutes(wanted, given)[0]
        if is_wild(given) or is_wild(wanted):
            for parameter in parameters_of(wanted if is_wild(given) else given):
                # What is inside a dyn is unknown, so what would be learned from it is dyn.
                self._substitutes(DYN, parameter)
            return True
        if NULL in (given, wanted):
            other = wanted if given == NULL else given
            return other == NULL or not (
                other in PRIMITIVES or other.name in {"list", "map", "type"}
            )
        if given.name != wanted.name:
            return False
        if given.name == "type":
            return True
        return len(given.parameters) == len(wanted.parameters) and all(
            self.assignable(a, b) for a, b in zip(given.parameters, wanted.parameters, strict=True)
        )

    def _substitutes(self, type_: Type, parameter: Type) -> tuple[bool, bool]:
        """Whether *type_* can stand for *parameter*, and whether something did before."""
        if type_ == parameter:
            return True, True
        known = self.found.get(parameter.name)
        if known is None:
            if self._occurs(parameter, type_):
                return False, False
            self._learn(parameter.name, type_)
            return True, False
        if type_ == known:
            return True, True
        if not self.assignable(type_, known):
            return False, True
        general = most_general(type_, known)
        if not self._occurs(parameter, general):
            self._learn(parameter.name, general)
        return True, True

    def _occurs(self, parameter: Type, type_: Type) -> bool:
        if parameter == type_:
            return True
        if is_parameter(type_):
            known = self.found.get(type_.name)
            return known is not None and self._occurs(parameter, known)
        return any(self._occurs(parameter, below) for below in type_.parameters)

    def substitute(self, type_: Type, *, free_to_dyn: bool = False) -> Type:
        """*type_* with its parameters replaced; what stands for nothing stays, or becomes dyn."""
        if is_parameter(type_):
            known = self.found.get(type_.name)
            if known is not None:
                return self.substitute(known, free_to_dyn=free_to_dyn)
            return DYN if free_to_dyn else type_
        if not type_.parameters:
            return type_
        below = (self.substitute(each, free_to_dyn=free_to_dyn) for each in type_.parameters)
        return Type(type_.name, tuple(below))


def most_general(left: Type, right: Type) -> Type:
    """
    The least specific of two types of which one may stand for the other, part by part.

    dyn anywhere in one is dyn there: nothing is said of a value that only one of them knows.
    """
    if NULL in (left, right):
        return right if left == NULL else left
    if left == right or is_parameter(left):
        return left
    if is_parameter(right):
        return right
    if left.name != right.name or len(left.parameters) != len(right.parameters):
        return DYN
    below = map(most_general, left.parameters, right.parameters)
    return Type(left.name, tuple(below))
