"""What another launcher's files start, as a cluster file. Pure: files come as text, and nothing is run."""

from dplaunch.importer.bring import Wanted, bring, read

__all__ = ["Wanted", "bring", "read"]
