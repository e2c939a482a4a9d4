"""What a server serves, as far as can be told: digests of a folder's files, and of its answers to fixed prompts."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

from activities.inference.client import Model, OpenAIModel, Prompt
from activities.inference.exceptions import ContextOverflowError, InvalidAnswerError
from activities.progress import progressed
from workflows.contracts.canonical import digest_of
from workflows.contracts.identifiers import Digest
from workflows.contracts.model import ServedModel

MOST_FILES = 5_000
LARGEST_DESCRIPTION = 1024 * 1024
"""Bytes of a configuration or a model card that are read."""

PIECE = 16 * 1024 * 1024
"""Bytes of a file that are read at once."""

TOKENIZER = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "merges.txt", "vocab.txt")
KNOWN_FOR = 1_024
"""Files whose digests a process remembers; one that changed in size, time or inode is read again."""

FIXED = Prompt(system="You answer with JSON of the schema.", user="")
QUESTIONS = (
    "Write a short sentence about a lighthouse.",
    "Continue: one, four, nine,",
    "Name an animal, a colour and a tool.",
    "Write a word that rhymes with latency.",
    "Why does a queue grow?",
    "Write three letters that you like.",
)
"""Of no use but to be answered alike by the same weights: temperature 0, a seed, short answers."""

SAME = 4
"""Of these answers must agree: on a GPU, what else is in a batch changes a rounding now and then."""

LONGEST_ANSWER = 40
ANSWER_TOKENS = 64


class UnreadableWeightsError(Exception):
    """A folder of weights cannot be read; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A folder of a model's files."""

    files: Mapping[str, Digest]
    tokenizer: Digest | None
    licence: str
    quantisation: str


def served_model(model: Model, folder: Path | None, *, answers: bool = False) -> ServedModel:
    """What is served now.

    Args:
        model: of an endpoint; it is asked.
        folder: of its weights, where this machine has it. Where the server does not say that this is what it serves,
            its answers to the fixed prompts count too.
        answers: ask the fixed prompts in any case.

    Raises:
        ModelError: the server does not answer.
        UnreadableWeightsError: the folder cannot be read.
    """
    weights = None if folder is None else read_weights(folder)
    version, root = "", None
    if isinstance(model, OpenAIModel):
        version = model.version()
        listed = model.listed().get(model.identity.model)
        root = None if listed is None else listed.root
    vouched = folder is not None and root is not None and Path(root) == folder.resolve()
    if folder is not None and root is not None and os.path.isabs(root) and not vouched:
        raise UnreadableWeightsError(f"the server serves {root}, not {folder}: correct `weights` in the models file")
    return ServedModel(
        model=model.identity.model,
        server=version,
        weights=dict(weights.files) if weights is not None else {},
        tokenizer=None if weights is None else weights.tokenizer,
        licence="" if weights is None else weights.licence,
        quantisation="" if weights is None else weights.quantisation,
        answers=fingerprint(model) if answers or not vouched else (),
    )


def difference(admitted: ServedModel, served: ServedModel) -> str:
    """How what is served differs from what was admitted; empty when it is the same as far as both can be compared."""
    if admitted.model != served.model:
        return f"it is called {served.model}, not {admitted.model}"
    known = bool(admitted.weights and served.weights)
    if known and admitted.weights != served.weights:
        names = sorted(admitted.weights.keys() | served.weights.keys())
        other = [name for name in names if admitted.weights.get(name) != served.weights.get(name)]
        return f"{len(other)} of its files differ, {other[0]} among them"
    if known and not served.answers:
        return ""
    if not admitted.answers or not served.answers:
        return "its weights cannot be read here, and there are no answers to compare"
    alike = sum(one == other for one, other in zip(admitted.answers, served.answers, strict=False))
    return "" if alike >= SAME else f"it answers {len(QUESTIONS) - alike} of {len(QUESTIONS)} fixed prompts otherwise"


def fingerprint(model: Model) -> tuple[Digest, ...]:
    """Digests of its answers to the fixed prompts.

    Raises:
        ModelUnavailableError: it does not answer now.
        ModelRefusedError: it will not answer.
    """
    found = []
    for question in QUESTIONS:
        try:
            answer = model.complete(
                Prompt(system=FIXED.system, user=question),
                {
                    "type": "object",
                    "properties": {"answer": {"type": "string", "maxLength": LONGEST_ANSWER}},
                    "required": ["answer"],
                    "additionalProperties": False,
                },
                max_tokens=ANSWER_TOKENS,
            ).text
        except (InvalidAnswerError, ContextOverflowError) as error:
            answer = type(error).__name__
        progressed()
        found.append(digest_of(answer.encode()))
    return tuple(found)


def read_weights(folder: Path) -> Weights:
    """The files of a folder, hidden ones and folders within it left out.

    Raises:
        UnreadableWeightsError: it cannot be read, or holds too many files.
    """
    try:
        paths = sorted(item for item in folder.iterdir() if item.is_file() and not item.name.startswith("."))
        if not paths or len(paths) > MOST_FILES:
            raise UnreadableWeightsError(f"{folder} holds {len(paths)} files: a folder of weights is expected")
        files = {path.name: _digest(path) for path in paths}
        licence, quantisation = _licence(folder), _quantisation(folder)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UnreadableWeightsError(f"the weights in {folder} cannot be read ({error})") from error
    tokenizer = [f"{name}:{files[name]}" for name in TOKENIZER if name in files]
    return Weights(
        files=files,
        tokenizer=digest_of("\n".join(tokenizer).encode()) if tokenizer else None,
        licence=licence[:200],
        quantisation=quantisation[:200],
    )


def _digest(path: Path) -> Digest:
    status = path.stat()
    return _digest_as_of(path, status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=KNOWN_FOR)
def _digest_as_of(path: Path, _size: int, _changed: int, _inode: int) -> Digest:
    """Of a file in this state: a model of 140 GB is read once."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            progressed()
    return Digest(digest.hexdigest())


def _licence(folder: Path) -> str:
    """As the model card's front matter says."""
    card = folder / "README.md"
    if not card.is_file():
        return ""
    with card.open(encoding="utf-8", errors="replace") as file:
        parts = file.read(LARGEST_DESCRIPTION).split("---\n", 2)
    front = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0].strip() else None
    return str(front.get("license", "")) if isinstance(front, dict) else ""


def _quantisation(folder: Path) -> str:
    """As the configuration says; the type of its numbers where they are not quantised."""
    file = folder / "config.json"
    if not file.is_file() or file.stat().st_size > LARGEST_DESCRIPTION:
        return ""
    config = json.loads(file.read_text())
    quantised = config.get("quantization_config") if isinstance(config, dict) else None
    if isinstance(quantised, dict):
        return str(quantised.get("quant_method", ""))
    return str(config.get("torch_dtype", config.get("dtype", ""))) if isinstance(config, dict) else ""
