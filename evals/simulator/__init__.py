"""Made-up incidents of made-up systems, each told by another instrumentation: what nobody can have tuned to.

A system, its load, a fault and how all of it is measured are drawn from a seed. What happens is calculated in steps of
time for whole components (rates from callers to callees, times and failures back from callees to callers), so that a
thousand incidents take minutes. Requests are drawn one by one only where there are traces.
"""
