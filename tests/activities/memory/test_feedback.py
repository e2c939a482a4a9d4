"""What people say of verdicts is kept, told by later investigations, and becomes the label of a captured case."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from activities.memory.feedback import FeedbackRecord
from activities.memory.recall import confirmed_cause
from activities.memory.uuid7 import uuid7
from activities.telemetry.recorded import open_bundle
from evals.capture import capture_investigation
from evals.suites import BundleSuite
from infra.settings import Settings
from tests.conftest import own_data_dir, recorded
from tests.running import an_alert, finish, options_for, quick_ingestion, start
from workers.installation import Installation, open_installation
from workflows.contracts.fact import FactEffect, FactState
from workflows.contracts.feedback import Feedback, Judgement
from workflows.contracts.hypothesis import ContributionTerm
from workflows.contracts.identifiers import EntityId, InvestigationId, Tenant
from workflows.contracts.past_incident import PastIncident

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def said(judgement: Judgement, *, at: datetime = NOON, cause: str | None = None, text: str = "") -> Feedback:
    return Feedback(
        judgement=judgement, cause=None if cause is None else EntityId(cause), said=text, author="ops", given_at=at
    )


def test_the_last_word_counts_as_it_was_known(installation: Installation) -> None:
    record = installation.store.feedback(Tenant(f"feedback-{uuid4()}"))
    one, other = InvestigationId(str(uuid7())), InvestigationId(str(uuid7()))
    record.give(one, said(Judgement.RIGHT))
    record.give(one, said(Judgement.WRONG, at=NOON + timedelta(hours=1), cause="service:cart"))
    assert record.latest([one, other], until=NOON)[one].judgement is Judgement.RIGHT
    assert record.latest([one, other], until=NOON + timedelta(days=1)) == {
        one: said(Judgement.WRONG, at=NOON + timedelta(hours=1), cause="service:cart")
    }
    assert record.latest([one], until=NOON - timedelta(seconds=1)) == {}
    assert record.latest([], until=NOON) == {}


def test_what_is_said_is_redacted(installation: Installation) -> None:
    tenant = Tenant(f"feedback-{uuid4()}")
    record: FeedbackRecord = installation.store.feedback(tenant)
    one = InvestigationId(str(uuid7()))
    record.give(one, said(Judgement.RIGHT, text="ask ops@example.com"))
    assert "ops@example.com" not in record.latest([one], until=NOON)[one].said
    assert installation.store.feedback(Tenant("other")).latest([one], until=NOON) == {}


@pytest.mark.parametrize(
    ("feedback", "cause"),
    [
        (None, None),
        (said(Judgement.RIGHT), "service:a"),
        (said(Judgement.WRONG), None),
        (said(Judgement.WRONG, cause="service:b"), "service:b"),
        (said(Judgement.PARTLY), "service:a"),
        (said(Judgement.UNKNOWN, cause="service:b"), None),
    ],
)
def test_a_cause_is_confirmed_by_what_was_said_of_it(feedback: Feedback | None, cause: str | None) -> None:
    past = PastIncident(
        known_from=NOON, title="t", entity=EntityId("service:a"), fault_kind="cpu", probability=0.9, sentence="a is it"
    )
    assert confirmed_cause(past, feedback) == cause


async def test_from_a_verdict_to_a_label_and_a_recalled_judgement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers.cli import APP  # noqa: PLC0415 - the command's own entry

    with own_data_dir() as folder:
        monkeypatch.setenv("INQUEST_DATA_DIR", str(folder))
        with open_installation(Settings(data_dir=folder)) as installation:
            client = await installation.client()
            async with installation.workers(client):
                first = await start(installation, client, recorded("row_lock"))
                report = await finish(installation, client, first)
                command = CliRunner()
                done = command.invoke(APP, ["feedback", first, "right", "--note", "seen in pg_locks"])
                assert done.exit_code == 0, done.output
                for words, code, problem in (
                    (["feedback", first, "perhaps"], 2, "say one of"),
                    (["feedback", first, "wrong", "--kind", "x"], 2, "no kind of fault"),
                    (["feedback", first, "wrong", "--cause", "cart"], 2, "kind:name"),
                    (["feedback", str(uuid7()), "right"], 1, "no investigation begins"),
                ):
                    wrong = command.invoke(APP, words)
                    assert wrong.exit_code == code
                    assert problem in " ".join(wrong.output.split())
                request = installation.incidents().request(first)
                assert request is not None
                known = datetime.now(UTC) + timedelta(minutes=1)
                options = replace(options_for(recorded("row_lock")), memory_scope=request.memory_scope, as_of=known)
                alert = an_alert("later", entity=open_bundle(recorded("row_lock")).alert.entity, starts_at=known)
                opened = await quick_ingestion(installation, client).receive(alert, options)
                again = await finish(installation, client, opened.request.investigation_id)
                captured, _ = capture_investigation(installation, opened.request.investigation_id, tmp_path / "later")
                replayed = await finish(installation, client, await start(installation, client, captured))
            suspect = str(report.findings.verdict.entity)
            monkeypatch.setattr("activities.memory.proposals.RECURS_FROM", 2)
            for investigation in (opened.request.investigation_id, first):
                words = ["feedback", investigation, "wrong", "--cause", suspect, "--kind", "lock"]
                assert command.invoke(APP, words).exit_code == 0
            facts = [item for item in installation.store.facts(installation.tenant).known([FactState.PROPOSED])]
            folder_, notes = capture_investigation(installation, first, tmp_path / "suite")
    [weak] = [item.fact for item in facts if item.fact.effect is FactEffect.KNOWN_CAUSE]
    assert (weak.subject, weak.statement) == (suspect, "was the root cause of 2 incidents that people have judged")
    [recalled] = again.findings.recalled
    assert f"confirmed by a person: {report.findings.verdict.sentence} (30% alike: the same alert)" in recalled
    gained = {part.term for item in again.findings.hypotheses for part in item.supporting}
    assert ContributionTerm.PAST in gained
    assert notes == [f"labelled by a person's feedback: {report.findings.verdict.entity}, lock"]
    truth = BundleSuite(tmp_path / "suite", system="suite").truth(folder_.name)
    assert [(root.entity, root.fault_kind) for root in truth.roots] == [
        (report.findings.verdict.entity, report.findings.verdict.fault_kind)
    ]
    assert replayed.findings == again.findings, "what was recalled then is recalled by a replay, and nothing else"
