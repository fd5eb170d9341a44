"""One file per probe: commands, a pure parser of what they print, and what it means."""
