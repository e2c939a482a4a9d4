"""The one version of package, engine and reports."""

ENGINE_VERSION = "0.5.0"
