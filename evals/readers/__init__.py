"""Readers of public corpora, one file a format: from a root folder to recordings, and apart from them to truths."""

from evals.readers.corpus import CorpusError, Reader
from evals.readers.nezha import Nezha
from evals.readers.openrca_market import OpenRcaMarket
from evals.readers.opensre import OpenSre
from evals.readers.petshop import PetShop
from evals.readers.rootcausebench import RootCauseBench

READERS: dict[str, type[Reader]] = {
    "nezha": Nezha,
    "openrca-market": OpenRcaMarket,
    "opensre": OpenSre,
    "petshop": PetShop,
    "rootcausebench": RootCauseBench,
}

__all__ = ["READERS", "CorpusError", "Nezha", "OpenRcaMarket", "OpenSre", "PetShop", "Reader", "RootCauseBench"]
