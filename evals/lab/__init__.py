"""The incident lab: a small real shop on one machine, real faults, and a recorder that writes bundles."""
