"""Queries with known answers are made of runbooks and rules, and rankings of them are scored as the literature does."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.metrics import ndcg_score

from activities.memory.knowledge.languages import language_of
from evals.readers import CorpusError
from evals.retrieval import (
    DEPTH,
    TRANSLATED,
    _scored,
    fill,
    meaning_queries,
    pages,
    rule_queries,
    score,
    translations,
)
from workers.installation import Installation
from workflows.contracts.identifiers import Tenant

RULES = """
groups:
  - rules:
      - alert: DiskFull
        annotations: {summary: "DiskFull: the volume has {{ $value }} per cent left", description: "Remove old files."}
      - alert: NobodyWroteAboutIt
        annotations: {summary: "it is not known what to do about this, so there is no page"}
"""
MIXIN = """
{ alert: 'QueueGrows', annotations: {
    description: 'More messages arrive than consumers of {{ $labels.queue }} take.', summary: 'A queue grows.', }, },
{
  annotations: {
    description: 'Clients of the server see a certificate that is no longer valid.', summary: 'It is out of date.',
  },
  alert: 'Certificate',
},
{ annotations: { description: 'Somebody has to be woken up because of this alert.' }, alert: 'AnotherOne' },
"""


@pytest.fixture
def runbooks(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "mixin.libsonnet").write_text(MIXIN)
    for name, meaning, rest in (
        ("DiskFull", "The space of a volume is used up and nothing can be written.", "Remove old files of the volume."),
        ("QueueGrows", "More messages arrive at a queue than its consumers take.", "Start more consumers of messages."),
        (
            "Certificate",
            "The certificate of the server is no longer valid for clients.",
            "Renew what the server sends to clients.",
        ),
    ):
        (tmp_path / f"{name}.md").write_text(f"# {name}\n\n## Meaning\n\n{meaning}\n\n## Mitigation\n\n{rest}")
    return tmp_path


def test_queries_do_not_contain_their_answer(runbooks: Path, installation: Installation) -> None:
    known = pages(runbooks)
    asked = rule_queries(runbooks, known)
    assert [(item.name, item.answers) for item in asked] == [
        ("certificate", frozenset({"Certificate.md"})),
        ("diskfull", frozenset({"DiskFull.md"})),
        ("queuegrows", frozenset({"QueueGrows.md"})),
    ]
    assert asked[0].text == "It is out of date. Clients of the server see a that is no longer valid.", "its own words"
    assert not any("DiskFull" in item.text or "{{" in item.text for item in asked)
    without, meanings = meaning_queries(known)
    assert len(meanings) == 3
    assert not any(section.heading == ("Meaning",) for page in without.values() for section in page.sections)
    tenant = Tenant("retrieval-test")
    fill(installation.store.library(tenant), without, [])
    rows = score(installation.store.search(tenant), meanings, ["bm25"])
    assert [row.ranking for row in rows] == ["bm25", "hybrid"]
    assert rows[0].recall.value == 1.0
    assert rows[0].ndcg == rows[1].ndcg


def test_scores_are_those_of_the_literature() -> None:
    drawn = np.random.default_rng(1).random((40, DEPTH)) < 0.3
    drawn = drawn[drawn.any(axis=1)]
    ours = _scored("x", [list(map(bool, row)) for row in drawn])
    places = np.tile(np.arange(DEPTH, 0, -1), (len(drawn), 1))
    assert ours.ndcg.value == pytest.approx(ndcg_score(drawn, places, k=DEPTH))
    assert ours.recall.value == pytest.approx(drawn[:, :5].any(axis=1).mean())
    assert ours.mrr.value == pytest.approx((1 / (drawn.argmax(axis=1) + 1)).mean())


def test_a_folder_without_pages_is_told(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="holds no Markdown page"):
        pages(tmp_path)


def test_sixty_runbooks_are_there_in_four_languages() -> None:
    written = yaml.safe_load(TRANSLATED.read_text())
    names = [item["page"] for item in written]
    assert len(set(names)) == 60
    found = translations([f"runbooks/{name}.md" for name in names[:-1]])
    assert len(found.pages) == 59, "only what has an English counterpart"
    languages = {language_of(" ".join(section.text for section in page.sections)) for page in found.pages.values()}
    assert languages == {"de", "fr", "es", "ja"}
    assert all(item.text and len(item.answers) == 1 for item in (*found.foreign, *found.english))
