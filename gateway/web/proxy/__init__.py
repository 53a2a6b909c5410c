"""The reverse proxy: from a request that a route matches to the answer of its upstream."""
