"""Enforcer: an event-driven policy enforcer for LLM traffic."""

__version__ = "0.1.0"
