"""Readers of public corpora, one file a format: from a root folder to recordings and truths."""

from evals.readers.corpus import Case, CorpusError, Reader
from evals.readers.nezha import Nezha
from evals.readers.rootcausebench import RootCauseBench

READERS: dict[str, type[Reader]] = {"nezha": Nezha, "rootcausebench": RootCauseBench}

__all__ = ["READERS", "Case", "CorpusError", "Nezha", "Reader", "RootCauseBench"]
