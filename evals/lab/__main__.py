"""`python -m evals.lab OUT`: record every fault of the catalogue, or those named, into OUT."""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

from evals.bundles import Truth, opaque_id, write_bundle, write_truth
from evals.lab.faults import catalogue
from evals.lab.recorder import Recorder
from evals.lab.shop import Shop, renamed, standard_shop
from evals.lab.stage import Stage, now

QUIET_S = 120.0
ALERT_LIMIT_S = 180.0


def record(fault: str, out: Path, *, shop: Shop, seed: int, rate: float) -> dict[str, str | int | float]:
    """Play one fault and write its bundle and truth under `out`; returns how it was made."""
    bundle_id = opaque_id("lab", fault, str(seed))
    with Stage(shop, requests_per_second=rate, seed=seed) as stage:
        recorder = Recorder(stage)
        recorder.watch(QUIET_S)
        injected_at = now()
        injected = catalogue()[fault](stage)
        alert = recorder.watch_until_alert(ALERT_LIMIT_S)
        recorder.watch(50.0)
        recording = recorder.recording(bundle_id, alert)
    with tempfile.TemporaryDirectory() as scratch:
        write_bundle(recording, Path(scratch) / bundle_id, compression_level=19)
        target = out / "bundles" / bundle_id
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(Path(scratch) / bundle_id, target)
    truth = Truth(
        bundle_id=bundle_id,
        system="lab",
        entity=injected.entity,
        aliases=injected.aliases,
        fault_kind=injected.fault_kind,
        change_id=injected.change_id,
        injected_at=injected_at,
        case=fault,
    )
    write_truth(truth, out / "truths")
    return {
        "bundle_id": bundle_id,
        "seed": seed,
        "requests_per_second": rate,
        "quiet_seconds": QUIET_S,
        "services": len(shop.services),
        "recorded_on": injected_at.date().isoformat(),
        "made_by": "make lab",
    }


def main() -> None:
    """Record, and merge into OUT/recordings.json how each bundle was made (without what was done to it)."""
    parser = argparse.ArgumentParser(description="Record incidents of the lab's shop.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--fault", action="append", choices=sorted(catalogue()), help="default: every fault")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=8.0, help="requests per second at the entry")
    parser.add_argument("--rename", action="store_true", help="play under names drawn from the seed")
    arguments = parser.parse_args()
    shop = renamed(standard_shop(), arguments.seed) if arguments.rename else standard_shop()
    index = arguments.out / "recordings.json"
    made = {row["bundle_id"]: row for row in json.loads(index.read_text())} if index.exists() else {}
    for fault in arguments.fault or sorted(catalogue()):
        row = record(fault, arguments.out, shop=shop, seed=arguments.seed, rate=arguments.rate)
        made[str(row["bundle_id"])] = row
        arguments.out.mkdir(parents=True, exist_ok=True)
        index.write_text(json.dumps([made[key] for key in sorted(made)], indent=1) + "\n")
        print(f"{fault}: {arguments.out / 'bundles' / str(row['bundle_id'])}", flush=True)


if __name__ == "__main__":
    main()
