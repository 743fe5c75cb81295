"""
Loading: from sources to checked documents, with everything that is wrong with them.

A document with an error is left out; the others load. Findings are complete, sorted by place and capped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from enforcer import events
from enforcer.errors import PolicyError, Span
from enforcer.policy import documents as models
from enforcer.policy import stops
from enforcer.policy.canonical import canonical_json, digest_of
from enforcer.policy.checker import check_policy, check_values, child
from enforcer.policy.checking import Placed, compare, prove_policy, think_again
from enforcer.policy.edits import check_keyed
from enforcer.policy.existing import convert, is_existing
from enforcer.policy.findings import Finding, Findings, raise_errors
from enforcer.policy.refusals import refuse_misread
from enforcer.policy.remainders import own_findings, remainder, without_refused
from enforcer.policy.shape import to_model
from enforcer.policy.source import Node, Text, plain, read
from enforcer.policy.tenants import check_tenant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Document:
    """A document that loads. Equal documents have equal digests."""

    kind: str
    id: str
    scope: str  # "*", a tenant, or "!" of stops.
    digest: str
    canonical: str = field(repr=False)
    source: str = field(repr=False, compare=False)
    model: models.AnyModel = field(repr=False, compare=False)
    node: Node = field(repr=False, compare=False)
    is_refused: bool = field(repr=False, compare=False, default=False)
    """Whether it has a fault of its shape: then it is what is left without it, to be checked, and no more."""

    @property
    def place(self) -> Span:
        """Where it begins."""
        return self.node.span

    def to_record(self) -> events.PolicyDocument:
        """As it travels on the policy topic and stays in the history."""
        return events.PolicyDocument(
            kind=self.kind,
            id=self.id,
            scope=self.scope,
            digest=self.digest,
            canonical=self.canonical,
            source=self.source,
            place=str(self.place),
        )

    @staticmethod
    def from_record(record: events.PolicyDocument) -> Document:
        """
        A document from the policy topic. Its canonical form counts; the source is for people.

        Raises: PolicyError, if it does not load, or is not what its digest, kind, id or scope say.
        """
        findings = Findings()
        found = _documents("policy.json", record.canonical, findings, record.scope)
        raise_errors(findings.sorted())
        named = (record.kind, record.id, record.scope, record.digest)
        if len(found) != 1 or named != (
            found[0].kind,
            found[0].id,
            found[0].scope,
            found[0].digest,
        ):
            raise PolicyError(
                "the record is not the document that its digest names",
                span=Span(record.place or record.id),
                help="apply the policies again",
                code="policy_invalid",
            )
        one = found[0]
        return Document(
            one.kind,
            one.id,
            one.scope,
            one.digest,
            one.canonical,
            record.source,
            one.model,
            one.node,
        )


@dataclass(frozen=True, slots=True)
class Loaded:
    """What sources gave: documents that can be used, and what is wrong with the others."""

    documents: tuple[Document, ...]
    findings: tuple[Finding, ...]
    omitted: int = 0
    """How many findings there were beyond the cap."""

    @property
    def has_errors(self) -> bool:
        """Whether something was refused."""
        return any(finding.severity == "error" for finding in self.findings)


def load(
    sources: Iterable[tuple[str, str]],
    *,
    default_tenant: str = "*",
    has_redaction_key: bool = True,
    prove: bool = False,
    now_us: int | None = None,
) -> Loaded:
    """
    Load and check documents.

    Args:
        sources: Name (for messages; ``.json`` is read as JSON) and text of each. A text may hold many
            documents.
        default_tenant: Whose the documents are that do not say so.
        has_redaction_key: Whether workers are given a key; without one, a redaction that needs it is
            a finding.
        prove: Whether each operation of an expression must be proved to have a value, as authors are asked to; and
            second thoughts about rules. What is in force already is not asked again.
        now_us: With ``prove``, the time that exceptions are held against.
    """
    findings = Findings()
    found: list[Document] = []
    for name, text in sources:
        found.extend(_documents(name, text, findings, default_tenant))
    refused = _check_together(found, findings, prove=prove, now_us=now_us)
    if not has_redaction_key:
        refused |= _check_keyed(found, findings)
    kept = tuple(each for at, each in enumerate(found) if at not in refused)
    return Loaded(kept, findings.sorted(), findings.omitted)


def _documents(name: str, text: str, findings: Findings, default_tenant: str) -> list[Document]:
    """The documents of one source whose shape is right."""
    built = [
        _document(node, each, findings, default_tenant)
        for each in read(name, text, findings)
        for node in _expand(each.node if each.is_whole else without_refused(each.node))
    ]
    return [document for document in built if document is not None]


def _expand(node: Node) -> list[Node]:
    """The existing engine's ``{policies: [...]}``, and a JSON list, hold several documents."""
    policies = node.get("policies") if node.get("apiVersion") is None else None
    if policies is not None and isinstance(policies.value, list):
        return policies.items()
    return node.items() if isinstance(node.value, list) else [node]


def _document(node: Node, text: Text, findings: Findings, default_tenant: str) -> Document | None:
    before = findings.error_count
    if is_existing(node):
        if not text.is_whole:
            return None
        node = convert(node, findings)
    _scope(node, default_tenant)
    refuse_misread(node, findings)
    model = to_model(node, findings)
    if model is None or findings.error_count > before or not text.is_whole:
        return _rest(node, text.source)
    canonical = canonical_json(plain(node))
    try:
        digest = digest_of(canonical)
    except UnicodeEncodeError:
        findings.error(
            "ENF0101",
            "a text holds half of a surrogate pair, which no encoding can carry",
            node.span,
            help="write the character itself",
        )
        return None
    source = text.source
    return Document(
        model.kind, model.metadata.id, _scope_of(model), digest, canonical, source, model, node
    )


def _rest(node: Node, source: str) -> Document | None:
    """What is left of a document that is refused for its shape; None where it cannot be checked further."""
    kind, version = node.get("kind"), node.get("apiVersion")
    if kind is None or version is None or version.value != models.API_VERSION:
        return None
    type_ = models.MODELS.get(kind.value) if isinstance(kind.value, str) else None
    found = None if type_ is None else remainder(type_, node)
    if found is None:
        return None
    model, left = found
    return Document(
        model.kind,
        model.metadata.id,
        _scope_of(model),
        "",
        "",
        source,
        model,
        left,
        is_refused=True,
    )


def _scope_of(model: models.AnyModel) -> str:
    if isinstance(model, models.Stop):
        return stops.SCOPE
    return model.metadata.id if isinstance(model, models.Tenant) else model.metadata.tenant


def _scope(node: Node, default_tenant: str) -> None:
    """Say whose the document is where it does not: the canonical form always says it."""
    metadata = node.get("metadata")
    kind = node.get("kind")
    is_scoped = kind is not None and kind.value in {"Policy", "Values"}
    if is_scoped and metadata is not None and isinstance(metadata.value, dict):
        metadata.value.setdefault("tenant", Node(default_tenant, metadata.span, "quoted"))


def _check_together(
    found: list[Document], findings: Findings, *, prove: bool, now_us: int | None
) -> set[int]:
    """What can be told only of all documents at once, and the meaning of each; who is refused."""
    values: dict[str, dict[str, Any]] = {}
    required: dict[str, frozenset[str]] = {}
    refused = _check_apart(found, values, required, findings)
    placed: list[Placed] = []
    for at, document in enumerate(found):
        if isinstance(document.model, models.Policy):
            own = Findings()
            scope = values.get(document.scope, {})
            lowered = check_policy(document.model, document.node, scope, own)
            is_right = not own.error_count and not document.is_refused
            if prove and lowered.is_guarded:
                prove_policy(lowered, document.node, own, _present(document, found, required))
                if is_right:
                    placed.append(Placed(lowered, document.node))
            if own.error_count:
                refused.add(at)
            findings.extend(own_findings(own.all) if document.is_refused else own.all)
    for each in placed:
        think_again(each, findings, now_us=now_us)
    compare(placed, findings)
    return refused


def _present(
    document: Document, found: list[Document], required: Mapping[str, frozenset[str]]
) -> frozenset[str]:
    """The fields that every request has that a policy is asked about: of everybody's, what all tenants require."""
    scope = document.scope
    scopes = {scope} if scope != "*" else {each.scope for each in found} - {"*", stops.SCOPE}
    each = [required.get(name, frozenset()) for name in scopes]
    return frozenset.intersection(*each) if each else frozenset()


def _check_apart(
    found: list[Document],
    values: dict[str, dict[str, Any]],
    required: dict[str, frozenset[str]],
    findings: Findings,
) -> set[int]:
    """
    Names, tenants, values and stops; who is refused.

    *values* learns the named ones of each scope, *required* which fields the requests of each tenant have.
    """
    refused: set[int] = set()
    first: dict[tuple[str, str, str], Document] = {}
    for at, document in enumerate(found):
        before = findings.error_count
        if document.is_refused:
            refused.add(at)
        _check_unique(document, first, findings)
        if isinstance(document.model, models.Values):
            _take_values(document, values, findings)
        elif isinstance(document.model, models.Tenant):
            settings = check_tenant(document.model, document.node, findings)
            required[document.id] = frozenset((*settings.required, *settings.defaults))
        elif isinstance(document.model, models.Stop):
            stops.check_stop(document.model, document.node, findings)
        if findings.error_count > before:
            refused.add(at)
    return refused


def _check_keyed(found: list[Document], findings: Findings) -> set[int]:
    """The policies that redact in a style that needs a key, where there is none."""
    refused: set[int] = set()
    for at, document in enumerate(found):
        before = findings.error_count
        if isinstance(document.model, models.Policy):
            check_keyed(document.model, document.node, findings)
        if findings.error_count > before:
            refused.add(at)
    return refused


def _check_unique(
    document: Document, first: dict[tuple[str, str, str], Document], findings: Findings
) -> None:
    name = (document.scope, document.kind, document.id)
    other = first.setdefault(name, document)
    if other is not document:
        findings.error(
            "ENF0207",
            f"the {document.kind} `{document.id}` of scope `{document.scope}` exists already",
            child(document.node, "metadata", "id").span,
            help=f"the first is at {other.place}",
        )


def _take_values(document: Document, values: dict[str, dict[str, Any]], findings: Findings) -> None:
    assert isinstance(document.model, models.Values)
    known = values.setdefault(document.scope, {})
    for name, value in check_values(document.model, document.node, findings).items():
        if name in known:
            findings.error(
                "ENF0207",
                f"the values `{name}` of scope `{document.scope}` exist already",
                child(document.node, "spec", name).span,
                help="give one of them another name",
            )
        known.setdefault(name, value)
