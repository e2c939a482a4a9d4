"""Redaction and, later, egress and command policy."""
