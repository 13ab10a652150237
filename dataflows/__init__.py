"""What runs: one module a flow, wiring only, each with a module-level `flow`."""
