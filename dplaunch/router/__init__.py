"""The router clients talk to: prefill/decode aware, thinks in groups, never dead for long.

Uploaded to a node and run there by the engine's own Python as ``python -m dprouter``, so it
imports nothing of dplaunch: aiohttp is needed, uvloop and orjson are used where present.
"""
