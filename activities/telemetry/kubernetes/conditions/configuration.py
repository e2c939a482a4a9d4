"""Missing ConfigMaps, quotas that are used up, webhooks without a backend, certificates."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from activities.telemetry.documents import moment
from activities.telemetry.kubernetes.facts import key_of
from activities.telemetry.kubernetes.rule import Cluster, Stated, rule

EXPIRES_SOON = timedelta(days=7)


@rule("Pod")
def missing_config_map(pod: Any, cluster: Cluster) -> Iterator[Stated]:
    """A pod that is not ready refers to a ConfigMap that does not exist."""
    if not cluster.knows("ConfigMap"):
        return
    namespace, name = key_of(pod)
    facts = cluster.facts.pods.get((namespace, name))
    if facts is None or facts.ready or facts.ended:
        return
    for wanted in sorted(facts.config_maps):
        if (namespace, wanted) not in cluster.facts.config_maps:
            yield Stated(reason="ConfigMapMissing", message=f"the ConfigMap {wanted} does not exist")


@rule("ResourceQuota")
def quota(item: Any, _cluster: Cluster) -> Iterator[Stated]:
    """Something of it is used up."""
    hard = (item.status.hard or {}) if item.status is not None else {}
    used = (item.status.used or {}) if item.status is not None else {}
    for name, limit in sorted(hard.items()):
        most, now = _quantity(limit), _quantity(used.get(name, "0"))
        if most is not None and now is not None and most > 0 and now >= most:
            yield Stated(reason="QuotaExceeded", message=f"{name}: {used[name]} of {limit} are used", type=name[:200])


def _quantity(text: object) -> Decimal | None:
    try:
        return Decimal(parse_quantity(str(text)))  # type: ignore[no-untyped-call]
    except (ValueError, ArithmeticError):
        return None


@rule("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
def webhook(item: Any, cluster: Cluster) -> Iterator[Stated]:
    """Its Service does not exist or has no ready address, and what it should review is refused."""
    if not cluster.knows("Service", "EndpointSlice") or cluster.reader.config.namespaces:
        return
    for found in item.webhooks or ():
        service = found.client_config.service if found.client_config is not None else None
        if service is None or found.failure_policy == "Ignore":
            continue
        key = (service.namespace, service.name)
        if key not in cluster.facts.services:
            yield Stated(
                reason="WebhookBackendMissing",
                message=f"{found.name}: the Service {service.namespace}/{service.name} does not exist",
            )
        elif cluster.facts.endpoints.get(key, (0, 0))[0] == 0:
            yield Stated(
                reason="WebhookBackendNotReady",
                message=f"{found.name}: the Service {service.namespace}/{service.name} has no ready address",
            )


@rule("Certificate")
def certificate(item: Mapping[str, Any], cluster: Cluster) -> Iterator[Stated]:
    """cert-manager's: not issued, ended, or about to end without having been renewed."""
    status = item.get("status") or {}
    for condition in status.get("conditions") or []:
        if condition.get("type") == "Ready" and condition.get("status") == "False":
            yield Stated(
                type="Ready",
                reason=str(condition.get("reason") or "CertificateNotReady"),
                message=str(condition.get("message") or ""),
                at=moment(condition.get("lastTransitionTime")),
            )
    ends = moment(status.get("notAfter"))
    if ends is not None and ends <= cluster.now:
        yield Stated(reason="CertificateExpired", message=f"it ended at {ends:%Y-%m-%d %H:%M}", at=ends)
    elif ends is not None and ends - cluster.now < EXPIRES_SOON:
        yield Stated(reason="CertificateExpiresSoon", message=f"it ends at {ends:%Y-%m-%d %H:%M}", at=cluster.now)
