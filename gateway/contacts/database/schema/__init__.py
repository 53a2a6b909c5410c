"""The schema, as numbered migrations; one file a noun."""
