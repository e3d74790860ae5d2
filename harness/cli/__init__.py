"""One file a command: parse, call `Dojo`, print."""
