"""What `Network` is a face of: the engine, the model, its training, its files.

Nothing here is imported by users, and nothing here knows `Network`.
"""
