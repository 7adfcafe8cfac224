"""Which dialects of tool calls and thinking the served model speaks, and why it is thought so."""
