"""`python -m evals.lab OUT`: play and record every scenario, or those named, into OUT."""

import argparse
import json
import shutil
import tempfile
from datetime import datetime
from pathlib import Path

from evals.bundles import Recording, Root, Truth, opaque_id, write_bundle, write_truth
from evals.lab.faults import Injected, catalogue
from evals.lab.machine import ImpossibleHereError
from evals.lab.recorder import NoAlertError, Recorder
from evals.lab.scenarios import Scenario, scenarios
from evals.lab.shop import Shop, grown_shop, renamed
from evals.lab.stage import Stage, now

QUIET_S = 120.0
ALERT_LIMIT_S = 180.0
SEEN_AFTER_ALERT_S = 45.0
RECOVERY_S = 40.0
HERRING_S = 20.0
"""How long before the fault a harmless rollout happens."""

FALSE_ALERT = "requests at {entry} are 14% under their forecast"


def play(scenario: Scenario, stage: Stage, bundle_id: str) -> tuple[Recording, list[Injected], datetime]:
    """One recording, what was done to the shop, and when.

    Raises:
        NoAlertError: nobody would have noticed.
        ImpossibleHereError: this machine does not allow the fault.
    """
    played = [(catalogue()[name], role) for name, role in scenario.faults]
    names = [stage.shop.service_for(role or fault.role) for fault, role in played]
    for (fault, _), name in zip(played, names, strict=True):
        fault.arrange(stage, name)
    with stage:
        recorder = Recorder(stage)
        recorder.watch(QUIET_S)
        if scenario.harmless_deploy is not None:
            _deploy_harmlessly(stage, stage.shop.service_for(scenario.harmless_deploy))
            recorder.watch(HERRING_S)
        began_at = now()
        injected = [fault.inject(stage, name) for (fault, _), name in zip(played, names, strict=True)]
        if injected:
            alert = recorder.watch_until_alert(ALERT_LIMIT_S)
        else:
            recorder.watch(HERRING_S)
            alert = recorder.alert(FALSE_ALERT.format(entry=stage.shop.entry))
        recorder.watch(SEEN_AFTER_ALERT_S)
        seen_for_s = SEEN_AFTER_ALERT_S
        if scenario.recovers:
            for item in injected:
                assert item.undo is not None
                item.undo()
            recorder.watch(RECOVERY_S)
            seen_for_s += RECOVERY_S
        recorder.watch(5.0)
        recording = recorder.recording(bundle_id, alert, seen_for_s=seen_for_s)
    for modality in scenario.missing:
        setattr(recording, modality, None)
    return recording, injected, began_at


def record(scenario: Scenario, out: Path, *, shop: Shop, seed: int, rate: float) -> dict[str, str | int | float]:
    """Play a scenario and write its bundle and truth under `out`; returns how it was made."""
    bundle_id = opaque_id("lab", scenario.name, str(seed))
    stage = Stage(shop, requests_per_second=rate, seed=seed)
    recording, injected, began_at = play(scenario, stage, bundle_id)
    with tempfile.TemporaryDirectory() as scratch:
        write_bundle(recording, Path(scratch) / bundle_id, compression_level=19)
        target = out / "bundles" / bundle_id
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(Path(scratch) / bundle_id, target)
    roots = [
        Root(entity=item.entity, aliases=item.aliases, fault_kind=item.fault_kind, change_id=item.change_id)
        for item in injected
    ]
    write_truth(
        Truth.of(roots, bundle_id=bundle_id, system="lab", injected_at=began_at, case=scenario.name), out / "truths"
    )
    return {
        "bundle_id": bundle_id,
        "seed": seed,
        "requests_per_second": rate,
        "quiet_seconds": QUIET_S,
        "services": len(shop.services),
        "recorded_on": began_at.date().isoformat(),
        "made_by": "make lab",
    }


def main() -> None:
    """Record, and write beside each bundle's index entry how it was made (without what was done to it)."""
    parser = argparse.ArgumentParser(description="Record incidents of the lab's shop.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--scenario", action="append", choices=sorted(scenarios()), help="default: every scenario")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=8.0, help="requests per second at the entry")
    parser.add_argument("--rename", action="store_true", help="play under names drawn from the seed")
    parser.add_argument("--services", type=int, default=0, help="grow the shop to that many, in a drawn graph")
    parser.add_argument("--keep", action="store_true", help="leave out scenarios that OUT holds already")
    arguments = parser.parse_args()
    shop = grown_shop(arguments.services, arguments.seed)
    shop = renamed(shop, arguments.seed) if arguments.rename else shop
    for name in arguments.scenario or sorted(scenarios()):
        folder = arguments.out / "bundles" / opaque_id("lab", name, str(arguments.seed))
        if arguments.keep and folder.exists():
            continue
        try:
            row = record(scenarios()[name], arguments.out, shop=shop, seed=arguments.seed, rate=arguments.rate)
        except (NoAlertError, ImpossibleHereError) as error:
            print(f"{name}: not recorded: {error}", flush=True)
            continue
        _enter(arguments.out, row)
        print(f"{name}: {folder}", flush=True)


def _enter(out: Path, row: dict[str, str | int | float]) -> None:
    index = out / "recordings.json"
    made = {item["bundle_id"]: item for item in json.loads(index.read_text())} if index.exists() else {}
    made[row["bundle_id"]] = row
    index.write_text(json.dumps([made[key] for key in sorted(made)], indent=1) + "\n")


def _deploy_harmlessly(stage: Stage, name: str) -> None:
    stage.redeploy(
        name,
        revision="r2",
        defect=None,
        title=f"Roll out {name} r2",
        detail="Reword a comment and a line of the changelog.",
    )


if __name__ == "__main__":
    main()
