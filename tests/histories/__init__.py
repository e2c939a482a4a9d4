"""Recorded histories of the workflow. They replay in every run of the tests; see `record.py`."""
