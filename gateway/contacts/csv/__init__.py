"""People in files: imported, exported, and their ids moved to where they belong."""
