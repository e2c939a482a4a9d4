"""`inquest eval`: replay suites, score, compare, look."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, ParamSpec

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from activities.analysis.evidence import TELEMETRY
from activities.memory.knowledge.embedding import Embedder, embedded
from activities.memory.knowledge.library import Library
from activities.memory.knowledge.search import Search
from activities.memory.knowledge.sections import ReadDocument
from evals.bundles import Root, Truth, write_truth
from evals.comparison import compare
from evals.deliberation import CHOOSERS, score_choosers
from evals.evaluation import EvaluationEndedError, Running, begin_or_resume
from evals.memory_effect import RememberedCase, remembered_case, score_memories
from evals.metamorphic import TRANSFORMATIONS, score_transformations
from evals.no_fault import periods_without_fault, score_no_fault
from evals.page import render_evaluation
from evals.plan import Plan
from evals.readers import READERS, CorpusError
from evals.recorded_case import RecordedCase, only, recorded_case
from evals.replay import truth_of, with_truth
from evals.results import EvaluationFile, ResultsError, check_writable, read_results, write_results
from evals.retrieval import fill, meaning_queries, pages, rule_queries, translations
from evals.retrieval import score as score_retrieval
from evals.scoring import score as score_cases
from evals.suites import BUNDLES, LAB, TRUTHS, BundleSuite, Suite, TruthsOnly, is_named, open_suite
from evals.tables import (
    chooser_line,
    comparison_lines,
    memory_line,
    no_fault_line,
    retrieval_line,
    score_lines,
    transformation_line,
)
from infra.stack import wait_until_stopped
from workers.installation import budget_of, open_installation
from workers.invocation import ERR, OUT, handle_known_errors, read_settings, run
from workflows.contracts.evaluation import MOST_CASES
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId, Tenant
from workflows.contracts.investigation import MOST_ROUNDS
from workflows.contracts.topology import EntityKind

eval_group = typer.Typer(no_args_is_help=True, help="Replay past incidents and measure how often the answer is right.")
LOOK_EVERY_S = 0.5
Given = ParamSpec("Given")


def _tell(results: EvaluationFile) -> None:
    for line in score_lines(results):
        OUT.print(line, soft_wrap=True)


def explained(command: Callable[Given, None]) -> Callable[Given, None]:
    """What can go wrong with suites and files ends a command with one line that says what to do."""

    @wraps(command)
    def wrapped(*args: Given.args, **kwargs: Given.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (CorpusError, ResultsError, EvaluationEndedError, OSError, ValueError) as error:
            ERR.print(Text(f"error: {error}", style="red"))
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            ERR.print(Text("interrupted: the same command goes on where this one was", style="yellow"))
            raise typer.Exit(130) from None

    return wrapped


@eval_group.command()
@handle_known_errors
@explained
def retrieval(
    root: Annotated[Path, typer.Option(help="Folder of runbooks and alerting rules.")],
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Without the slow model.")] = False,
) -> None:
    """Measure how well runbooks are found: by words, by each model of meaning, and by all fused."""
    known = pages(root)
    without, meanings = meaning_queries(known)
    models = [item for item in embedded() if item.immediate or not quick]
    rankings = ["bm25", *(item.model.name for item in models)]
    with TemporaryDirectory(prefix="inquest-retrieval-") as folder:
        settings = read_settings().model_copy(
            update={"data_dir": Path(folder), "database_url": None, "temporal_address": None}
        )
        try:
            with open_installation(settings) as installation:
                for name, library, asked in (
                    ("rules", known, rule_queries(root, known)),
                    ("meaning", without, meanings),
                ):
                    if not asked:
                        raise CorpusError(root, f"has nothing to make queries of ({name})")
                    tenant = Tenant(name)
                    fill(installation.store.library(tenant, models), library, models)
                    OUT.print(Text(f"{name}: {len(asked)} queries, {len(library)} pages", "bold"))
                    search = installation.store.search(tenant, models)
                    for row in score_retrieval(search, asked, rankings):
                        OUT.print(retrieval_line(row), soft_wrap=True)
                    if library is known:
                        _print_translated(installation.store.library(tenant, models), search, known, models, rankings)
        finally:
            wait_until_stopped(Path(folder))


def _print_translated(
    library: Library,
    search: Search,
    known: Mapping[str, ReadDocument],
    models: Sequence[Embedder],
    rankings: Sequence[str],
) -> None:
    """Queries in other languages against English pages; English ones against pages in other languages among all."""
    translated = translations(known)
    if not translated.pages:
        return
    OUT.print(Text(f"other languages to English: {len(translated.foreign)} queries, {len(known)} pages", "bold"))
    for row in score_retrieval(search, translated.foreign, rankings):
        OUT.print(retrieval_line(row), soft_wrap=True)
    fill(library, translated.pages, models)
    every = len(known) + len(translated.pages)
    OUT.print(Text(f"English to other languages: {len(translated.english)} queries, {every} pages", "bold"))
    for row in score_retrieval(search, translated.english, rankings):
        OUT.print(retrieval_line(row), soft_wrap=True)


@eval_group.command()
@handle_known_errors
@explained
def memory(
    suite: Annotated[
        str, typer.Argument(help="lab, simulated[:SEED[:COUNT]], a corpus, or a folder of bundles.")
    ] = LAB,
    *,
    root: Annotated[Path | None, typer.Option(help="The corpus's folder.")] = None,
    limit: Annotated[int, typer.Option(min=2, help="Cases at most.")] = MOST_CASES,
) -> None:
    """Measure what remembering the other cases does to each: nothing wrong, and something where faults recur."""
    opened = open_suite(suite, root, None)
    found: list[RememberedCase] = []
    with TemporaryDirectory(prefix="inquest-memory-") as folder:
        for name in opened.names()[:limit]:
            case = remembered_case(opened, name, Path(folder))
            if case is not None:
                found.append(case)
    for row in score_memories(found):
        OUT.print(memory_line(row), soft_wrap=True)


@eval_group.command()
@handle_known_errors
@explained
def deliberation(
    suite: Annotated[
        str, typer.Argument(help="lab, simulated[:SEED[:COUNT]], a corpus, or a folder of bundles.")
    ] = LAB,
    *,
    root: Annotated[Path | None, typer.Option(help="The corpus's folder.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Cases at most.")] = MOST_CASES,
    chooser: Annotated[list[str] | None, typer.Option(help="Only this one; may be given again.")] = None,
) -> None:
    """Measure what choosing queries costs, and what a model of known quality can do: from hostile to all-knowing."""
    unknown = sorted(set(chooser or ()) - set(CHOOSERS))
    if unknown:
        raise ValueError(f"there is no chooser {', '.join(unknown)}: there are {', '.join(CHOOSERS)}")
    found = [case for case in _recorded_cases(open_suite(suite, root, None), limit) if case.roots]
    chosen = {name: CHOOSERS[name] for name in chooser or CHOOSERS}
    for row in score_choosers(found, chosen):
        OUT.print(chooser_line(row), soft_wrap=True)


@eval_group.command()
@handle_known_errors
@explained
def metamorphic(
    suite: Annotated[
        str, typer.Argument(help="lab, simulated[:SEED[:COUNT]], a corpus, or a folder of bundles.")
    ] = LAB,
    *,
    root: Annotated[Path | None, typer.Option(help="The corpus's folder.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Cases at most.")] = MOST_CASES,
    transformation: Annotated[list[str] | None, typer.Option(help="Only this one; may be given again.")] = None,
    telemetry: Annotated[str, typer.Option("--only", help="Of metrics, logs and traces only this.")] = "",
) -> None:
    """Tell the same incidents otherwise (spelling, units, names, replicas, clocks): the answer must not change."""
    unknown = sorted(set(transformation or ()) - set(TRANSFORMATIONS))
    if unknown:
        raise ValueError(f"there is no transformation {', '.join(unknown)}: there are {', '.join(TRANSFORMATIONS)}")
    cases = (case for case in _recorded_cases(open_suite(suite, root, None), limit, telemetry) if case.roots)
    for row in score_transformations(cases, transformation or tuple(TRANSFORMATIONS)):
        OUT.print(transformation_line(row), soft_wrap=True)


@eval_group.command(name="no-fault")
@handle_known_errors
@explained
def no_fault(
    suite: Annotated[
        str, typer.Argument(help="lab, simulated[:SEED[:COUNT]], a corpus, or a folder of bundles.")
    ] = LAB,
    *,
    root: Annotated[Path | None, typer.Option(help="The corpus's folder.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Cases at most.")] = MOST_CASES,
    telemetry: Annotated[str, typer.Option("--only", help="Of metrics, logs and traces only this.")] = "",
) -> None:
    """Investigate false alerts in ordinary periods, before anything was wrong: who is accused all the same?"""
    opened = open_suite(suite, root, None)
    truths = [opened.truth(name) for name in opened.names()]
    injections = [item.injected_at for item in truths if item.injected_at is not None]
    periods = (
        period
        for case in _recorded_cases(opened, limit, telemetry)
        # Bundles are recordings of their own; cases of a corpus are cut from one.
        for period in periods_without_fault(case, () if isinstance(opened, BundleSuite) else injections)
    )
    for row in score_no_fault(periods):
        OUT.print(no_fault_line(row), soft_wrap=True)


def _recorded_cases(suite: Suite, limit: int, telemetry: str = "") -> Iterator[RecordedCase]:
    """Cases one after the other, each in a folder that is gone afterwards."""
    modality = next((item for item in TELEMETRY if item == telemetry), None)
    if telemetry and modality is None:
        raise ValueError(f"there is no telemetry {telemetry}: there are {', '.join(sorted(TELEMETRY))}")
    for name in suite.names()[:limit]:
        with TemporaryDirectory(prefix="inquest-case-") as folder:
            case = recorded_case(suite, name, Path(folder))
        yield case if modality is None else only(case, modality)


@eval_group.command(name="run")
@handle_known_errors
@explained
def run_(
    suite: Annotated[
        str, typer.Argument(help="lab, simulated[:SEED[:COUNT]], a corpus (see bundle import), or a folder.")
    ],
    *,
    root: Annotated[Path | None, typer.Option(help="Folder of the corpus.")] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Cases replayed at once.")] = 2,
    repeat: Annotated[int, typer.Option(min=1, max=100, help="Replays of each case.")] = 1,
    json: Annotated[Path | None, typer.Option("--json", help="File for all results.")] = None,
    blind: Annotated[bool, typer.Option("--blind", help="Open no truth; write rankings only.")] = False,
    baselines: Annotated[bool, typer.Option("--baselines", help="Plain methods beside ours.")] = False,
    visible_until: Annotated[
        float | None,
        typer.Option(min=0, max=2_592_000, help="Seconds after the alert that are visible; default: as stated."),
    ] = None,
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be given again.")] = None,
    rounds: Annotated[
        int | None, typer.Option(min=0, max=MOST_ROUNDS, help="Further looks; 0 asks all at once.")
    ] = None,
    model: Annotated[str, typer.Option(help="Endpoint of the models file that is asked; default: none.")] = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew though an equal run is unfinished.")] = False,
) -> None:
    """Replay a suite: one investigation a case, through the same door as a live alert."""
    settings = read_settings()
    visible_for = None if visible_until is None else timedelta(seconds=visible_until)
    root = root.resolve() if root else None
    name = suite if is_named(suite) else str(Path(suite).resolve())
    plan = Plan(
        suite=name,
        root=root,
        visible_for=visible_for,
        cases=_cases(open_suite(name, root, visible_for), case),
        repeat=repeat,
        jobs=jobs,
        blind=blind,
        baselines=baselines,
        model=model,
        budget=budget_of(settings) if rounds is None else budget_of(settings).model_copy(update={"rounds": rounds}),
    )
    if len(plan.cases) * repeat > MOST_CASES:
        raise CorpusError(Path(suite), f"makes {len(plan.cases) * repeat} replays, at most {MOST_CASES}: use --case")
    if json is not None:
        check_writable(json)
    with open_installation(settings) as installation:
        running = begin_or_resume(installation, plan, fresh=fresh)
        results = run(_watched(running))
        if json is not None:
            write_results(results, json)
        running.delivered()
    for item in results.cases:
        problem = item.failed or item.truth_problem
        if problem:
            ERR.print(Text(f"{item.case}: {problem}", style="yellow"))
    _tell(results)
    OUT.print(Text(f"{len(results.cases)} replays in {results.wall_seconds:.0f} s", style="dim"))


def _cases(suite: Suite, chosen: list[str] | None) -> tuple[str, ...]:
    """All cases, or those that were named.

    Raises:
        CorpusError: there is none, or none of that name.
    """
    known = suite.names()
    unknown = [name for name in chosen or () if name not in known]
    if unknown or not known:
        raise CorpusError(Path(", ".join(unknown) or "suite"), f"no such case; there are {', '.join(known[:10])} ...")
    return tuple(chosen or known)


async def _watched(running: Running) -> EvaluationFile:
    """Follow an evaluation with a bar and an estimate of the time left."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ExitStack() as stack:
        bar = Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=ERR)
        stack.enter_context(bar)
        task = bar.add_task(running.plan.suite.rpartition("/")[2], total=running.planned)
        async with running as results:
            while not results.done():
                standing = await running.standing()
                note = f" ({standing.failed} failed)" if standing.failed else ""
                bar.update(task, completed=standing.finished, description=f"{running.plan.suite}{note}")
                await asyncio.wait([results], timeout=LOOK_EVERY_S)
            bar.update(task, completed=running.planned)
            return results.result()


@eval_group.command()
@handle_known_errors
@explained
def score(
    results: Annotated[Path, typer.Argument(help="Results of a blind run.")],
    truth: Annotated[Path, typer.Option(help="Folder of the truths: a corpus's own, or one with truths/.")],
    out: Annotated[Path | None, typer.Option(help="Where to write; default: over the file itself.")] = None,
) -> None:
    """Give a blind run its truths, and score it."""
    blind = read_results(results)
    corpus = blind.suite in READERS
    truths = open_suite(blind.suite, truth, None) if corpus else TruthsOnly(truth)
    cases = []
    for item in blind.cases:
        found, problem = truth_of(truths, item.case)
        fields = with_truth(found, item.entities) if found is not None else {"truth_problem": problem}
        cases.append(item.model_copy(update=fields))
        if fields["truth_problem"]:
            ERR.print(Text(f"{item.case}: {fields['truth_problem']}", style="yellow"))
    scored = blind.model_copy(update={"cases": tuple(cases), "scores": score_cases(cases), "blind": False})
    write_results(scored, out or results)
    _tell(scored)


@eval_group.command(name="compare")
@handle_known_errors
@explained
def compare_(
    before: Annotated[Path, typer.Argument(help="Results of the earlier version.")],
    after: Annotated[Path, typer.Argument(help="Results of the later version.")],
) -> None:
    """What a change changed: paired differences, and per case which finding moved. Fails on a regression."""
    comparison = compare(read_results(before), read_results(after))
    for line in comparison_lines(comparison):
        OUT.print(line)
    if comparison.regressed:
        raise typer.Exit(3)


@eval_group.command()
@handle_known_errors
@explained
def report(
    results: Annotated[Path, typer.Argument(help="Results of a run.")],
    out: Annotated[Path | None, typer.Option(help="The page; default: beside the results.")] = None,
) -> None:
    """One self-contained page: tables, reliability, every case down to its evidence."""
    found = read_results(results)
    with open_installation(read_settings()) as installation:
        page = render_evaluation(found, installation)
    target = out or results.with_suffix(".html")
    target.write_text(page)
    OUT.print(Text(str(target)))


@eval_group.command()
@handle_known_errors
@explained
def label(
    bundle_id: Annotated[str, typer.Argument(help="Id of a bundle: the name of its folder.")],
    *,
    folder: Annotated[Path, typer.Option(help="The folder with bundles/.")],
    entity: Annotated[str | None, typer.Option(help="The root cause, as kind:name.")] = None,
    healthy: Annotated[bool, typer.Option("--healthy", help="Nothing was wrong.")] = False,
    kind: Annotated[str, typer.Option(help="What was wrong with it.")] = FaultKind.UNKNOWN.value,
    alias: Annotated[list[str] | None, typer.Option(help="Another right name of it; may be given again.")] = None,
    change: Annotated[str | None, typer.Option(help="Id of the change that brought it in.")] = None,
    note: Annotated[str, typer.Option(help="How this is known.")] = "",
) -> None:
    """Say what really happened in a captured incident, so that it can be scored."""
    kinds = [item.value for item in FaultKind]
    if (entity is None) is not healthy:
        raise ValueError("say either --entity kind:name or --healthy")
    if kind not in kinds:
        raise ValueError(f"{kind} is no fault kind; use one of {', '.join(kinds)}")
    for name in [*([entity] if entity is not None else []), *(alias or [])]:
        _check_entity(name)
    if bundle_id not in BundleSuite(folder, system=folder.name).names():
        raise ValueError(f"there is no bundle {bundle_id} in {folder / BUNDLES}")
    BundleSuite(folder, system=folder.name).bundle(bundle_id, folder)
    roots = []
    if entity is not None:
        aliases = tuple(EntityId(name) for name in alias or ())
        roots = [Root(entity=EntityId(entity), aliases=aliases, fault_kind=FaultKind(kind), change_id=change)]
    truth = Truth.of(roots, bundle_id=bundle_id, system=folder.resolve().name, case=bundle_id, note=note)
    OUT.print(Text(str(write_truth(truth, folder / TRUTHS))))


def _check_entity(name: str) -> None:
    kinds = [item.value for item in EntityKind if item is not EntityKind.UNKNOWN]
    kind, _, rest = name.partition(":")
    if kind not in kinds or not rest.strip() or not name.isprintable():
        raise ValueError(f"{name!r} names no entity: write kind:name with one of {', '.join(kinds)}")
