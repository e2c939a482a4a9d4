"""The version of the engine that rows and reports name."""

ENGINE_VERSION = "0.4.0"
