"""Costs: what machines cost, what jobs will cost and have cost, and the budgets that they keep to."""
