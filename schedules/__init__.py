"""How kernels compute: schedules, problems, targets, search spaces, hardware and cost model."""

if __name__ == "schedules":
    raise ImportError("import hsa_compiler.schedules, not schedules")
