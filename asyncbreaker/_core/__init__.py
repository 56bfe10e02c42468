"""The core: decides, and nothing else (no await, clock, chance, I/O or logging)."""
