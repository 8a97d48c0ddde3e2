"""Compiled kernels as a folder that runs without this package: `hsa-compiler export`.

shape + target
    -> plan      (plan.py)       kernel groups, schedules as a call would get them, tile programs
    -> build     (cpu.py)        one shared library with a C function per group, and its header
                 (cuda.py)       one cubin per launch
    -> manifest  (manifest.py)   what the folder holds and how it is launched, as JSON
    -> folder    (folder.py)     written whole or not at all

`loader.py` is copied into the folder as it is: it imports nothing of this package.
"""
