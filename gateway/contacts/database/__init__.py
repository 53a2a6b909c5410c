"""The store on its two engines, SQLite and PostgreSQL: SQL written once, and what each engine does its own way."""
