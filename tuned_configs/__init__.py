"""Tuned configs that ship with the package: one folder per device, one JSON per kernel."""

if __name__ == "tuned_configs":
    raise ImportError("import hsa_compiler.tuned_configs, not tuned_configs")
