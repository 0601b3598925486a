"""Tables and simulated customers → Panel arrays; data order."""
