"""Side-by-side measurements of the operator and the model, and their recorded results."""

if __name__ == "benchmarks":
    raise ImportError("import hsa_compiler.benchmarks, not benchmarks")
