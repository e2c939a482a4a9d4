"""An embedding model behind an OpenAI-compatible endpoint: vLLM, llama.cpp, text-embeddings-inference and others."""

from collections.abc import Sequence
from functools import cached_property
from http import HTTPStatus
from threading import Lock

import numpy as np
from pydantic import BaseModel, ValidationError

from activities.inference.exceptions import ReplyError
from activities.inference.server import ModelServer
from activities.memory.knowledge.embedding import ModelName, Vectors, embeddable
from activities.memory.knowledge.exceptions import EmbedderError

AT_ONCE = 64
"""Texts of one request."""

WAIT_S = 30.0
LARGEST_ANSWER = 64 * 1024 * 1024
QUERY, PASSAGE = "query", "passage"


class _Embedding(BaseModel):
    index: int
    embedding: list[float]


class _Answer(BaseModel):
    data: list[_Embedding]


class EndpointEmbedder:
    """Asks `/v1/embeddings`. Documents are added without waiting for it; their vectors follow."""

    def __init__(self, url: str, *, model: str, build: str = "", key: str | None = None) -> None:
        """Name the endpoint; nothing is sent yet.

        Args:
            url: up to and with `/v1`.
            model: the model's name there.
            build: of its weights; another one says that vectors cannot be compared with earlier ones.
            key: sent as a bearer token.

        Raises:
            ValueError: the address cannot be used.
        """
        self._server = ModelServer(url, key=key)
        self._address = f"{self._server.url}/embeddings"
        self._named, self._build = model, build
        self._measuring = Lock()
        self.immediate = False
        self.languages: frozenset[str] | None = None

    @cached_property
    def _dimensions(self) -> int:
        with self._measuring:
            return int(self._asked(["x"], QUERY).shape[1])

    @property
    def model(self) -> ModelName:
        """Whose vectors these are; their length is what the endpoint gives.

        Raises:
            EmbedderError: it cannot be asked.
        """
        return ModelName(name=self._named, build=self._build, dimensions=self._dimensions)

    def passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors of passages, in as many requests as it takes.

        Raises:
            EmbedderError: the endpoint is away, or answered something else.
        """
        parts = [self._asked(texts[begin : begin + AT_ONCE], PASSAGE) for begin in range(0, len(texts), AT_ONCE)]
        return np.concatenate([np.empty((0, self._dimensions), dtype=np.float32), *parts])

    def query(self, text: str) -> Vectors:
        """The vector of a question.

        Raises:
            EmbedderError: the endpoint is away, or answered something else.
        """
        return self._asked([text], QUERY)

    def _asked(self, texts: Sequence[str], kind: str) -> Vectors:
        body = {"model": self._named, "input": [embeddable(text) for text in texts], "input_type": kind}
        vectors = self._read(self._post({**body, "encoding_format": "float"}), len(texts))
        known = self.__dict__.get("_dimensions")
        if known is not None and vectors.shape[1] != known:
            raise self._error(f"now gives vectors of {vectors.shape[1]} numbers, not of {known}: is it another model?")
        return vectors

    def _post(self, body: dict[str, object]) -> bytes:
        try:
            reply = self._server.post("embeddings", body, wait=WAIT_S, largest=LARGEST_ANSWER)
        except ReplyError as error:
            raise self._error(str(error)) from error
        if reply.status != HTTPStatus.OK:
            raise self._error(f"answered HTTP {reply.status}: {reply.excerpt}")
        return reply.content

    def _read(self, content: bytes, count: int) -> Vectors:
        try:
            rows = sorted(_Answer.model_validate_json(content).data, key=lambda row: row.index)
        except ValidationError as error:
            raise self._error("answered something else than vectors") from error
        if [row.index for row in rows] != list(range(count)) or len({len(row.embedding) for row in rows}) != 1:
            raise self._error(f"answered with {len(rows)} vectors to {count} texts, or with uneven ones")
        vectors = np.array([row.embedding for row in rows], dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(vectors).all() or (lengths == 0).any():
            raise self._error("answered with vectors that have no direction")
        unit: Vectors = vectors / lengths
        return unit

    def _error(self, problem: str) -> EmbedderError:
        return EmbedderError(f"the embedding model {self._named} at {self._address} {problem}")
