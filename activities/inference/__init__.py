"""The language model: asked over the OpenAI-compatible wire, answered in a schema, recorded call by call.

A model chooses among what code enumerated. Nothing that it says is evidence, and nothing of what it reads can become
a query, an address or an instruction.
"""
