"""The guard: the small program beside every engine and service of a node.

A *session* (``session.run_from``) answers the launcher's JSON requests; a *guard* (``supervise``) is
a fork of it that owns one process tree and outlives the session. The wire contract is
``docs/guard-protocol.md``. Python 3.8 grammar and library, imports kept few: a node starts this
sixteen times a second.
"""
