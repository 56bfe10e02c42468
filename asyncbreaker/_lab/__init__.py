"""The outage lab: the real breaker on a virtual clock, against dependencies that fall ill."""
