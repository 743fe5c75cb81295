"""
The functions: each overload with its signature, its Python classes and its code, in one place.

A signature reads ``name(string, int) -> bool``, with a receiver ``string.(int)``: ``string:charAt(int) ->
string``. The checker uses its types, the compiler takes the overload that the static types choose, and
what is known only at run time is chosen by the classes of the values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from enforcer.cel.errors import EvaluationError
from enforcer.cel.types import Type, is_parameter, is_wild, parameters_of, read_type
from enforcer.cel.values import (
    TYPE_NAMES,
    Cidr,
    Duration,
    Ip,
    Optional,
    Timestamp,
    TypeValue,
    UInt,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_F = TypeVar("_F", bound="Callable[..., Any]")

CLASSES: Final[dict[str, type]] = {
    "null": type(None),
    "bool": bool,
    "int": int,
    "uint": UInt,
    "double": float,
    "string": str,
    "bytes": bytes,
    "list": list,
    "map": dict,
    "timestamp": Timestamp,
    "duration": Duration,
    "type": TypeValue,
    "optional": Optional,
    "net.IP": Ip,
    "net.CIDR": Cidr,
}
_SIGNATURE = re.compile(
    r"(?:(?P<receiver>[\w.]+(?:\([\w, ()]*\))?):)?(?P<name>[\w.@!<>=+*/%|&-]+)\((?P<arguments>.*)\) -> (?P<result>.+)"
)


@dataclass(frozen=True, slots=True)
class Overload:
    """
    One signature of a function.

    ``parameters`` begin with the receiver's type if there is one. ``is_certain``: it has a value for all
    arguments of these types. ``function`` is None where only the type is declared.
    """

    name: str
    is_member: bool
    parameters: tuple[Type, ...]
    result: Type
    function: Callable[..., Any] | None
    is_certain: bool
    classes: tuple[type, ...] = field(init=False, compare=False)
    """The classes of its arguments; ``object`` for any."""
    generics: tuple[str, ...] = field(init=False, compare=False)
    """The names of its type parameters."""

    def __post_init__(self) -> None:
        """Work out what is asked of it again and again."""
        classes = (
            object if is_parameter(each) or is_wild(each) else CLASSES.get(each.name, object)
            for each in self.parameters
        )
        types = (*self.parameters, self.result)
        names = (each.name for type_ in types for each in parameters_of(type_))
        object.__setattr__(self, "classes", tuple(classes))
        object.__setattr__(self, "generics", tuple(dict.fromkeys(names)))


class Function:
    """All overloads of one name, either with a receiver or without."""

    __slots__ = ("_exact", "_open", "is_member", "name", "overloads")

    def __init__(self, name: str, *, is_member: bool) -> None:
        self.name = name
        self.is_member = is_member
        self.overloads: list[Overload] = []
        self._exact: dict[tuple[type, ...], Callable[..., Any]] = {}
        self._open: list[tuple[tuple[type, ...], Callable[..., Any]]] = []

    def add(self, overload: Overload) -> None:
        """Take over one more overload."""
        self.overloads.append(overload)
        if overload.function is None:
            return
        if object in overload.classes:
            self._open.append((overload.classes, overload.function))
        else:
            self._exact.setdefault(overload.classes, overload.function)

    def overload_for(self, classes: tuple[type, ...]) -> Callable[..., Any] | None:
        """The code for arguments of these classes."""
        function = self._exact.get(classes)
        if function is not None:
            return function
        for wanted, open_function in self._open:
            if len(wanted) == len(classes) and all(
                want is object or want is have for want, have in zip(wanted, classes, strict=True)
            ):
                return open_function
        return None

    def __call__(self, *arguments: Any) -> Any:
        """
        Call the overload that fits the values.

        Raises: EvaluationError, if none does, or as the overload says.
        """
        function = self._exact.get(tuple(map(type, arguments)))
        if function is None:
            function = self.overload_for(tuple(map(type, arguments)))
            if function is None:
                raise no_overload(self.name, *arguments)
        return function(*arguments)


def no_overload(name: str, *arguments: Any) -> EvaluationError:
    """The error of a function or operator that has no meaning for these values."""
    types = ", ".join(TYPE_NAMES.get(each.__class__, "?") for each in arguments)
    return EvaluationError("no_such_overload", f"no such overload: {name}({types})")


FUNCTIONS: Final[dict[tuple[str, bool], Function]] = {}
"""Every function, by its name and whether it has a receiver."""


def read_signature(
    text: str, function: Callable[..., Any] | None = None, *, is_certain: bool = False
) -> Overload:
    """
    An overload from its text.

    Raises: ValueError.
    """
    match = _SIGNATURE.fullmatch(text)
    if match is None:
        raise ValueError(f"`{text}` is no signature")
    inner = read_type(f"f({match['arguments']})").parameters if match["arguments"] else ()
    receiver = match["receiver"]
    parameters = (read_type(receiver), *inner) if receiver else inner
    result = read_type(match["result"])
    return Overload(match["name"], receiver is not None, parameters, result, function, is_certain)


def declare(*signatures: str, certain: bool = False) -> Callable[[_F], _F]:
    """Register a Python function under *signatures*; ``certain`` if it never raises for such arguments."""

    def register(function: _F) -> _F:
        for text in signatures:
            add_overload(read_signature(text, function, is_certain=certain))
        return function

    return register


def add_overload(overload: Overload) -> None:
    """Register one overload."""
    key = (overload.name, overload.is_member)
    if key not in FUNCTIONS:
        FUNCTIONS[key] = Function(overload.name, is_member=overload.is_member)
    FUNCTIONS[key].add(overload)
