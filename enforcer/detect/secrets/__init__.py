"""Secrets in a text: keys, tokens and passwords, with their places and never their values."""

from __future__ import annotations

from enforcer.detect.secrets.scanner import ALL, KINDS, RECOGNISERS, scan

__all__ = ["ALL", "KINDS", "RECOGNISERS", "scan"]
