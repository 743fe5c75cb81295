"""Texts to trees: YAML and JSON, with line and column of everything."""

from enforcer.policy.source.nodes import Limits, Node, Text, plain
from enforcer.policy.source.reader import read

__all__ = ["Limits", "Node", "Text", "plain", "read"]
