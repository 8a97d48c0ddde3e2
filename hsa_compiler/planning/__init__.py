"""Schedules for a device that need not be here: `hsa-compiler plan`.

target -> hardware row
    -> forecast  (forecast.py)   legal schedules ranked by the cost model; the others by reason
    -> compiled  (compiled.py)   the best of them built for the target, and what they take
"""
