"""Adapters: one third-party library per file, each needs its extra, none is imported here."""
