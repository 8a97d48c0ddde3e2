"""HSA-UltraLong: window blocks, a chunk encoder and HSA layers that share one retrieved memory.

The model itself is one file, `hsa_ultralong.py`, read top to bottom; around it stand its
configuration, data, training, cache, generation and evaluation.
"""

if __name__ == "model":
    raise ImportError("import hsa_compiler.model, not model")
