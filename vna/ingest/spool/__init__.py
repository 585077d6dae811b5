"""The spool: where an instance is durable before it is acknowledged.

An instance goes straight into a *segment*, a file that was written full of
zeros beforehand; a large one into a file of its own. Nothing is copied in front
of the answer, and no name is made. Which write makes which fact durable, and
what a crash between any two of them leaves, is told in docs/adr/0013.
"""

from vna.ingest.spool.entry import Fate, Kind, Spooled, SpoolEntry
from vna.ingest.spool.receiving import SpoolFile
from vna.ingest.spool.room import Spool

__all__ = ["Fate", "Kind", "Spool", "SpoolEntry", "SpoolFile", "Spooled"]
