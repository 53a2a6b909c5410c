"""From untrusted bytes to a principal. Pure: no web framework, no SQL, no sockets, no clock of its own."""
