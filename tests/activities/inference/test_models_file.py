"""Which model may see what: over all rules, no workload reaches an endpoint that is not cleared for it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.inference.models_file import (
    Endpoint,
    Models,
    ModelsFileError,
    Rule,
    Tier,
    Workload,
    read_models,
)

names = st.sampled_from(["payments", "payments-eu", "shop", "ledger", ""])
patterns = st.sampled_from(["payments", "payments*", "shop", "*", "ledg?r", None])
tiers = st.sampled_from(Tier)
workloads = st.builds(Workload, environment=names, service=names, team=names)
rules = st.builds(
    lambda environment, service, team, tier: Rule(
        environment=environment or "*", service=service, team=team, tier=tier.name
    ),
    patterns,
    patterns,
    patterns,
    tiers,
)
files = st.builds(
    lambda cleared, listed, otherwise: Models(
        endpoints=tuple(
            Endpoint(name=f"e{number}", url="http://127.0.0.1:1/v1", model="m", cleared=tier.name)
            for number, tier in enumerate(cleared)
        ),
        workloads=tuple(listed),
        otherwise=otherwise.name,
    ),
    st.lists(tiers, max_size=5),
    st.lists(rules, max_size=6),
    tiers,
)


@given(files, st.lists(workloads, max_size=4))
def test_no_workload_reaches_an_endpoint_that_is_not_cleared_for_it(models: Models, listed: list[Workload]) -> None:
    found = models.allowed(listed)
    for workload in listed:
        fitting = [rule.tier for rule in models.workloads if rule.fits(workload)]
        tier = max(fitting, default=models.otherwise)
        for endpoint in models.endpoints:
            if endpoint.cleared < tier:
                assert found != endpoint
                assert models.cleared(endpoint.name, listed) is None
    if not listed and found is not None:
        assert found.cleared is Tier.T5, "of what nothing is known, nothing leaves the perimeter"


@given(files, workloads)
def test_a_t5_workload_is_seen_by_t5_endpoints_alone(models: Models, workload: Workload) -> None:
    strict = models.model_copy(update={"workloads": (*models.workloads, Rule(environment="*", tier="T5"))})
    found = strict.allowed([workload])
    assert found is None or found.cleared is Tier.T5


@given(files, workloads, workloads)
def test_one_sensitive_alert_makes_the_incident_sensitive(models: Models, one: Workload, other: Workload) -> None:
    assert models.tier([one, other]) == max(models.tier([one]), models.tier([other]))


FILE = """
endpoints:
  - {name: own, url: "http://127.0.0.1:8000/v1", model: qwen, cleared: T5}
  - {name: group, url: "https://models.group.internal/v1", model: large, cleared: T3, credential: {variable: KEY}}
workloads:
  - {environment: "shop-*", tier: T2}
  - {environment: "shop-*", service: "payment*", tier: T5}
otherwise: T4
"""


def test_a_file_says_who_is_asked(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(FILE)
    models = read_models(tmp_path / "models.yaml")
    listed = [models.tier([Workload(environment="shop-eu", service=name)]).name for name in ("cart", "payment-api")]
    assert listed == ["T2", "T5"]
    assert models.tier([Workload(environment="bank")]) is Tier.T4
    remote = models.cleared("group", [Workload(environment="shop-eu", service="cart")])
    assert remote is not None
    assert models.cleared("group", [Workload(environment="shop-eu", service="payment-api")]) is None
    assert read_models(tmp_path / "none.yaml") == Models()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("endpoints: [{name: a}]", "endpoints.0"),
        ("endpoints: [{name: a, url: ftp://x, model: m, cleared: T5}]", "http"),
        ("endpoints: [{name: a, url: 'http://x/v1', model: m, cleared: T9}]", "write one of T1"),
        ("endpoints: [{name: a, url: 'http://x/v1', model: m, cleared: T5, key: secret}]", "endpoints.0.key"),
        ("workloads: [{tier: T5}]", "name an environment"),
        ("workloads: [{service: a, tier: 5}]", "write one of T1"),
        ("otherwise: [", "is not YAML"),
        ("- 1", "models.yaml"),
        ("&a [*a, *a]", "models.yaml"),
    ],
)
def test_what_cannot_be_used_says_where_and_why(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(text)
    with pytest.raises(ModelsFileError, match=r"models\.yaml") as error:
        read_models(path)
    assert problem in str(error.value)


def test_two_endpoints_of_one_name_are_refused(tmp_path: Path) -> None:
    twice = "{name: a, url: 'http://x/v1', model: m, cleared: T5}"
    (tmp_path / "models.yaml").write_text(f"endpoints: [{twice}, {twice}]")
    with pytest.raises(ModelsFileError, match="two endpoints have the name a"):
        read_models(tmp_path / "models.yaml")
