"""The chain of audit records: written by ``chain``, checked by ``verifier``, which share no code."""
