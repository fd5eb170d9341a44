"""The guard protocol: what starts a session, typed requests, replies and events. It talks to no host.

The contract is ``docs/guard-protocol.md``.
"""
