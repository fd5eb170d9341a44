"""The frozen values that flow through the pipe: cluster, plan, observed, events. No rules, no I/O."""
