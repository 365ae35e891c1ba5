"""Models to and from files and other software; exporters take a `ModelState`.

Nothing here trains, and no package but safetensors is needed at import.
"""
