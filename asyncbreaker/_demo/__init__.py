"""The demo: a real service in trouble, called with and without a breaker, side by side."""
