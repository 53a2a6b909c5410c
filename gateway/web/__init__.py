"""HTTP in and out: one decision, its carriers and its endings."""
