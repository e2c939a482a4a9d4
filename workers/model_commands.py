"""`inquest model`: which language models there are, whether one can do what is asked of it, how to serve one."""

import getpass
import os
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.text import Text
from sqlalchemy.exc import DBAPIError

from activities.credentials.reference import CredentialError
from activities.deliberation import open_model
from activities.inference.client import ListedModel, OpenAIModel, Prompt
from activities.inference.exceptions import ModelError
from activities.inference.models_file import LEAST_WINDOW, Endpoint, Workload
from activities.inference.served import served_model
from activities.inference.structured import Question, ask
from activities.memory.admissions import Revocation
from activities.memory.evaluations import Evaluations
from activities.memory.model_service import ServiceLevel
from activities.memory.uuid7 import uuid7
from infra.settings import Settings
from workers.installation import Installation, open_installation
from workers.invocation import ERR, OUT, handle_known_errors, read_settings
from workers.known_models import known_models
from workers.rendering.listing import span_of
from workers.rendering.plain_text import one_line
from workflows.contracts.evaluation import EvaluationId
from workflows.contracts.model import ModelAdmission

GROUP = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Language models: what they are, whether they will do."
)
GPUS = Path("/proc/driver/nvidia/gpus")
PORT = 8000
SILENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""What keeps vLLM and its libraries from speaking to anybody."""


class _Trial(BaseModel):
    """What a model is asked for in a check."""

    component: str
    sure: bool


TRIAL = Question(
    prompts=[
        Prompt(
            system="You answer with JSON.",
            user="The pod checkout was killed for its memory. Name the component, and whether you are sure.",
        )
    ],
    schema={
        "type": "object",
        "properties": {
            "component": {"type": "string", "enum": ["checkout", "cart", "payment"]},
            "sure": {"type": "boolean"},
        },
        "required": ["component", "sure"],
        "additionalProperties": False,
    },
    answer=_Trial,
    max_tokens=60,
)


@GROUP.command("list")
@handle_known_errors
def list_(
    environment: Annotated[str, typer.Option(help="Of a workload.")] = "",
    service: Annotated[str, typer.Option(help="Of a workload.")] = "",
    team: Annotated[str, typer.Option(help="Of a workload.")] = "",
) -> None:
    """List the endpoints and, of a workload, its tier and which of them would be asked about it."""
    settings = read_settings()
    models = known_models(settings)
    if not models.endpoints:
        OUT.print(Text(f"no endpoints: {settings.models_file} names none, so no model is asked"))
        return
    for item in models.endpoints:
        OUT.print(one_line(f"{item.name:<20} {item.cleared.name}  {item.model} at {item.url}"), soft_wrap=True)
    if environment or service or team:
        workload = Workload(environment=environment, service=service, team=team)
        found = models.allowed([workload])
        who = "no endpoint may see it" if found is None else f"{found.name} is asked"
        OUT.print(Text(f"the workload is of tier {models.tier([workload]).name}: {who}"))


@GROUP.command("check")
@handle_known_errors
def check(
    endpoint: Annotated[str | None, typer.Argument(help="Of the models file; default: all of them.")] = None,
) -> None:
    """Ask an endpoint what it is, how much it can read, how fast it is, and whether it answers in a schema."""
    settings = read_settings()
    chosen = known_models(settings).endpoints if endpoint is None else (_chosen(settings, endpoint),)
    if not chosen:
        ERR.print(Text(f"error: {settings.models_file} names no endpoint", style="red"))
        raise typer.Exit(1)
    fine = [_is_fine(item) for item in chosen]
    if not all(fine):
        raise typer.Exit(1)


@GROUP.command("admit")
@handle_known_errors
def admit(
    endpoint: Annotated[str, typer.Argument(help="Of the models file.")],
    *,
    evaluation: Annotated[str | None, typer.Option(help="Id of the evaluation that speaks for it.")] = None,
    licence: Annotated[str, typer.Option(help="Of its weights; default: as their folder says.")] = "",
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    by: Annotated[str | None, typer.Option(help="Who admits it; default: who runs this.")] = None,
) -> None:
    """Admit what an endpoint serves now to workloads that are shown only to admitted models."""
    settings = read_settings()
    chosen = _chosen(settings, endpoint)
    with open_installation(settings) as installation:
        if evaluation is not None:
            _require_evaluation(installation, EvaluationId(evaluation))
        try:
            served = served_model(open_model(chosen), chosen.weights, answers=True)
        except (ModelError, CredentialError) as error:
            ERR.print(Text(f"error: {one_line(str(error))}", style="red"))
            raise typer.Exit(1) from error
        admission = ModelAdmission(
            admission_id=uuid7(),
            served=served.model_copy(update={"licence": licence[:200] or served.licence}),
            evaluation_id=evaluation,
            admitted_by=(by or getpass.getuser())[:200],
            admitted_at=datetime.now(UTC),
            reason=reason[:1_000],
        )
        installation.store.admissions(installation.tenant).admit(admission)
    for line in _about(admission):
        OUT.print(one_line(line), soft_wrap=True)


@GROUP.command("admitted")
@handle_known_errors
def admitted() -> None:
    """List the admitted models, and those whose admission was taken back."""
    with open_installation(read_settings()) as installation:
        known = installation.store.admissions(installation.tenant).known()
    for item in known:
        for line in _about(item.admission):
            OUT.print(one_line(line), soft_wrap=True)
        if item.revoked is not None:
            why = f": {item.revoked.reason}" if item.revoked.reason else ""
            told = f"  taken back by {item.revoked.by} on {item.revoked.at:%Y-%m-%d}{why}"
            OUT.print(one_line(told), style="yellow", soft_wrap=True)
    if not known:
        ERR.print(Text("no model was admitted: inquest model admit ENDPOINT", style="dim"))


@GROUP.command("revoke")
@handle_known_errors
def revoke(
    admission: Annotated[str, typer.Argument(help="Id, as `inquest model admitted` shows it.")],
    *,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    by: Annotated[str | None, typer.Option(help="Who takes it back; default: who runs this.")] = None,
) -> None:
    """Take an admission back; investigations under way ask the model no more."""
    taken_back = Revocation(by=(by or getpass.getuser())[:200], at=datetime.now(UTC), reason=reason[:1_000])
    with open_installation(read_settings()) as installation:
        installation.store.admissions(installation.tenant).revoke(admission, taken_back)
    OUT.print(Text("taken back"))


@GROUP.command("usage")
@handle_known_errors
def usage(*, since: Annotated[str, typer.Option(help="Of this time: 30m, 12h, 7d.")] = "7d") -> None:
    """Show how well each endpoint served: availability, failed and invalid answers, seconds, tokens."""
    after = datetime.now(UTC) - span_of(since)
    with open_installation(read_settings()) as installation:
        levels = installation.store.model_service(installation.tenant).levels(since=after)
    for level in levels:
        OUT.print(one_line(usage_line(level)), soft_wrap=True)
    if not levels:
        ERR.print(Text(f"no model was asked in the last {since}", style="dim"))


@GROUP.command("serve")
@handle_known_errors
def serve(
    folder: Annotated[Path, typer.Argument(help="Folder of the model's weights.")],
    *,
    name: Annotated[str | None, typer.Option(help="Under which it is served; default: the folder's.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="On this machine alone.")] = PORT,
    context: Annotated[int | None, typer.Option(min=LEAST_WINDOW, help="Tokens it reads; default: all it can.")] = None,
    run: Annotated[bool, typer.Option("--run", help="Run it; without this it is printed.")] = False,
) -> None:
    """Print, or run, the vLLM command line that serves a folder of weights offline."""
    if not (folder / "config.json").is_file():
        ERR.print(Text(f"error: {folder} holds no model: a config.json is expected", style="red"))
        raise typer.Exit(1)
    command = vllm_command(folder, name=name or folder.resolve().name, port=port, context=context, gpus=_gpus())
    if not run:
        told = " ".join(f"{key}={value}" for key, value in SILENT.items())
        print(f"{told} {shlex.join(command)}")
        return
    os.environ.update(SILENT)
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell: the arguments are the command's own
    except FileNotFoundError:
        ERR.print(
            Text("error: there is no vllm command: pip install 'inquest-sre[vllm]' where there is a GPU", style="red")
        )
        raise typer.Exit(1) from None


def vllm_command(folder: Path, *, name: str, port: int, context: int | None, gpus: int) -> list[str]:
    """The command line that serves a folder of weights.

    Args:
        folder: of the weights.
        name: under which it is served.
        port: on the loopback address.
        context: tokens that it reads; None is what the model can.
        gpus: present; the weights are divided among them.
    """
    command = ["vllm", "serve", str(folder.resolve()), "--served-model-name", name]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--enable-prefix-caching", "--tensor-parallel-size", str(max(1, gpus))]
    return command if context is None else [*command, "--max-model-len", str(context)]


def usage_line(level: ServiceLevel) -> str:
    """How well one endpoint's model served."""
    available = 1 - level.unreachable / level.requests
    parts = [
        f"{level.requests:,} {'request' if level.requests == 1 else 'requests'}",
        f"available {available:.1%}",
        f"failed {level.failed / level.requests:.1%}",
        f"invalid {level.invalid / level.requests:.1%}",
    ]
    if level.mean is not None and level.p95 is not None:
        parts.append(f"{level.mean:.1f} s on average, p95 {level.p95:.1f} s")
    if level.first_token is not None:
        parts.append(f"first words after {level.first_token:.2f} s")
    parts.append(f"{level.prompt_tokens:,} tokens in, {level.completion_tokens:,} out")
    return f"{level.endpoint:<20} {level.model}: {', '.join(parts)}"


def _chosen(settings: Settings, endpoint: str) -> Endpoint:
    """The endpoint of this name."""
    models = known_models(settings)
    for item in models.endpoints:
        if item.name == endpoint:
            return item
    known = ", ".join(item.name for item in models.endpoints) or "none"
    ERR.print(Text(f"error: no such endpoint; {settings.models_file} names {known}", style="red"))
    raise typer.Exit(1)


def _require_evaluation(installation: Installation, evaluation: EvaluationId) -> None:
    try:
        Evaluations(installation.engine, installation.tenant).plan(evaluation)
    except (LookupError, DBAPIError):
        ERR.print(
            Text(
                f"error: there is no evaluation {one_line(evaluation)}: the results of inquest eval run name it",
                style="red",
            )
        )
        raise typer.Exit(1) from None


def _about(admission: ModelAdmission) -> list[str]:
    served = admission.served
    known_by = (
        f"{len(served.weights)} files of weights" if served.weights else f"its answers to {len(served.answers)} prompts"
    )
    described = ", ".join(item for item in (served.server, served.quantisation, served.licence) if item)
    first = f"{admission.admission_id}  {served.model}, known by {known_by}"
    second = f"  admitted by {admission.admitted_by} on {admission.admitted_at:%Y-%m-%d}"
    second += f", evaluation {admission.evaluation_id}" if admission.evaluation_id else ""
    second += f": {admission.reason}" if admission.reason else ""
    return [f"{first} ({described})" if described else first, second]


def _gpus() -> int:
    return len(list(GPUS.iterdir())) if GPUS.is_dir() else 0


def _is_fine(endpoint: Endpoint) -> bool:
    """Whether the endpoint can do what is asked of it; says what was found."""
    OUT.print(Text(f"{endpoint.name} ({endpoint.model}, cleared for {endpoint.cleared.name})", style="bold"))
    try:
        model = open_model(endpoint)
        assert isinstance(model, OpenAIModel)
        listed = model.listed()
        return _told(model, endpoint, listed)
    except (ModelError, CredentialError, OSError) as error:
        _say(fine=False, text=str(error))
        return False


def _told(model: OpenAIModel, endpoint: Endpoint, listed: dict[str, ListedModel]) -> bool:
    version = model.version()
    _say(fine=True, text=f"the server answers{f', version {version}' if version else ''}")
    if endpoint.model not in listed:
        _say(fine=False, text=f"it has no model {endpoint.model}: it has {', '.join(sorted(listed)) or 'none'}")
        return False
    window = listed[endpoint.model].max_model_len
    wide = window is None or window >= LEAST_WINDOW
    read = "does not say how much it reads" if window is None else f"reads {window:,} tokens"
    _say(fine=wide, text=f"it {read}{'' if wide else f'; at least {LEAST_WINDOW:,} are needed'}")
    answered = ask(model, TRIAL, allowed=lambda _: True)
    call = answered.calls[-1]
    if answered.answer is None:
        _say(fine=False, text=f"it does not answer in a schema: {call.detail}")
        return False
    speed = call.completion_tokens / call.seconds if call.seconds > 0 else 0.0
    first = f"its first words after {call.first_token_seconds:.1f} s, " if call.first_token_seconds else ""
    _say(
        fine=True,
        text=f"it answers in a schema, {speed:.0f} tokens a second, {first}the whole after {call.seconds:.1f} s",
    )
    return wide


def _say(*, fine: bool, text: str) -> None:
    mark, style = ("✓", "green") if fine else ("✗", "red")
    OUT.print(Text.assemble(("  ", ""), (mark, style), f" {one_line(text)}"), soft_wrap=True)
