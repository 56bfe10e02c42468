"""Speed and behaviour, measured."""
