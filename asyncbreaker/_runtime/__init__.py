"""The runtime: asks the core, awaits the user's call, reports back; it decides nothing."""
