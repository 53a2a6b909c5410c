"""Who a principal is to us: contacts, the store that keeps them, and the resolver that finds them."""
