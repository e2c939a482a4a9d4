"""`inquest model`: which language models there are, whether one can do what is asked of it, how to serve one."""

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.text import Text

from activities.credentials.reference import CredentialError
from activities.deliberation import open_model
from activities.inference.client import OpenAIModel, Prompt
from activities.inference.exceptions import ModelError
from activities.inference.models_file import LEAST_WINDOW, Endpoint, Workload, read_models
from activities.inference.structured import Question, ask
from workers.invocation import ERR, OUT, handle_known_errors, read_settings
from workers.rendering.plain_text import one_line

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
    models = read_models(settings.models_file)
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
    models = read_models(settings.models_file)
    chosen = [item for item in models.endpoints if endpoint in (None, item.name)]
    if not chosen:
        known = ", ".join(item.name for item in models.endpoints) or "none"
        ERR.print(Text(f"error: no such endpoint; {settings.models_file} names {known}", style="red"))
        raise typer.Exit(1)
    fine = [_is_fine(item) for item in chosen]
    if not all(fine):
        raise typer.Exit(1)


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
        ERR.print(Text("error: there is no vllm command: install vLLM where there is a GPU", style="red"))
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


def _told(model: OpenAIModel, endpoint: Endpoint, listed: dict[str, int | None]) -> bool:
    version = model.version()
    _say(fine=True, text=f"the server answers{f', version {version}' if version else ''}")
    if endpoint.model not in listed:
        _say(fine=False, text=f"it has no model {endpoint.model}: it has {', '.join(sorted(listed)) or 'none'}")
        return False
    window = listed[endpoint.model]
    wide = window is None or window >= LEAST_WINDOW
    read = "does not say how much it reads" if window is None else f"reads {window:,} tokens"
    _say(fine=wide, text=f"it {read}{'' if wide else f'; at least {LEAST_WINDOW:,} are needed'}")
    answered = ask(model, TRIAL, allowed=lambda _: True)
    call = answered.calls[-1]
    if answered.answer is None:
        _say(fine=False, text=f"it does not answer in a schema: {call.detail}")
        return False
    speed = call.completion_tokens / call.seconds if call.seconds > 0 else 0.0
    _say(fine=True, text=f"it answers in a schema, {speed:.0f} tokens a second, the answer after {call.seconds:.1f} s")
    return wide


def _say(*, fine: bool, text: str) -> None:
    mark, style = ("✓", "green") if fine else ("✗", "red")
    OUT.print(Text.assemble(("  ", ""), (mark, style), f" {one_line(text)}"), soft_wrap=True)
