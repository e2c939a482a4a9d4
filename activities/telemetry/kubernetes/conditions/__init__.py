"""The conditions that are recognised: small typed rules, by the kind of object they look at.

Sources: Kubernetes' API reference (conditions and reasons of each kind); K8sGPT's analyzers for what people look for.
"""

from activities.telemetry.kubernetes.conditions import batch, configuration, network, nodes, pods, storage, workloads

__all__ = ["batch", "configuration", "network", "nodes", "pods", "storage", "workloads"]
