"""Two records that are one person: found, merged, and parted again."""
