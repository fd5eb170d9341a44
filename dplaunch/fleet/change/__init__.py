"""Steps carried out: groups held, drained, stopped, started, awaited, proved and admitted."""
