"""``python -m hsa_compiler`` is the ``hsa-compiler`` command."""

from hsa_compiler.cli.main import run

if __name__ == "__main__":
    run()
